"""The same recipe under every CPU launcher: the same anchors and tokens, the same losses, whole revisions."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import prepared
import pytest
import torch
from transformers import AutoModelForCausalLM

from lmeff.revisions import differences

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = ("cpu", "cpu_ddp", "cpu_zero1", "cpu_zero2", "cpu_zero3")
pytestmark = pytest.mark.slow


def launch(launcher: str, *words: str, run: Callable = prepared.run) -> subprocess.CompletedProcess:
    """`accelerate launch`, as the README writes it. Its processes are forked, but for the `run` of `subprocess`."""
    command = [
        str(Path(sys.executable).with_name("accelerate")),
        "launch",
        "--config_file",
        f"launchers/{launcher}.yaml",
    ]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return run(
        [*command, "-m", "lmeff.run", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )


@pytest.fixture(scope="module")
def runs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """50 steps of recipes/leaner_small.yaml with a smaller model and batch, scored on a few pairs at each anchor."""
    folder = tmp_path_factory.mktemp("matrix")
    found = {}
    for launcher in LAUNCHERS:
        answer = launch(
            launcher,
            "recipes/leaner_small.yaml",
            f"name={launcher}",
            f"corpus.paths=[{shared_data}/leaner/train/wiki*.jsonl]",
            f"corpus.dev_paths=[{shared_data}/leaner/validation/wiki.jsonl]",
            "tokenizer.vocab_size=1000",
            "model.hidden_size=64",
            "model.intermediate_size=128",
            "model.num_hidden_layers=2",
            "batch.tokens=2048",
            "anchors.tokens=[0,50k,102400]",
            "schedule.warmup=10 steps",
            "training.logging_steps=1",
            "evaluation.tasks=[lmeff_synthetic]",
            "evaluation.limit=5",
            "evaluation.dev_tokens=5000",
            f"paths.outputs={folder}/outputs",
            f"paths.data={folder}/data",
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        found[launcher] = folder / "outputs" / launcher / "seed-0"
    return found


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "run.log.jsonl").read_text().splitlines()]


def anchors(run: Path) -> list[dict]:
    found = [json.loads(path.read_text()) for path in (run / "revisions").glob("seed-0-*/anchor.json")]
    return sorted(found, key=lambda anchor: anchor["step"])


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_same_anchors_and_tokens(runs: dict[str, Path], launcher: str) -> None:
    found = anchors(runs[launcher])
    assert [(anchor["step"], anchor["exact_tokens"]) for anchor in found] == [(0, 0), (25, 51_200), (50, 102_400)]
    assert {anchor["world_size"] for anchor in found} == {1 if launcher == "cpu" else 2}
    assert {anchor["engine"] for anchor in found} == {"plain" if launcher == "cpu" else launcher.removeprefix("cpu_")}
    assert found[0]["weights_sha256"] == anchors(runs["cpu"])[0]["weights_sha256"]


@pytest.mark.parametrize("launcher", LAUNCHERS[1:])
def test_the_same_losses(runs: dict[str, Path], launcher: str) -> None:
    wanted, found = losses(runs["cpu"]), losses(runs[launcher])
    assert len(found) == len(wanted) == 50
    assert found == pytest.approx(wanted, rel=1e-4)
    for ours, theirs in zip(anchors(runs[launcher]), anchors(runs["cpu"]), strict=True):
        assert ours["dev_loss"] == pytest.approx(theirs["dev_loss"], rel=1e-4)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_whole_revisions(runs: dict[str, Path], launcher: str) -> None:
    """ZeRO-3 too: gathered, in float32, loadable by transformers, and the same weights up to rounding."""
    for folder in sorted((runs[launcher] / "revisions").iterdir()):
        assert differences(folder) == []
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        reference = AutoModelForCausalLM.from_pretrained(runs["cpu"] / "revisions" / folder.name).state_dict()
        for name, weight in model.state_dict().items():
            far = ~torch.isclose(weight, reference[name], rtol=1e-2, atol=2e-4)
            assert far.float().mean() < 1e-3, (
                name
            )  # where the gradient is next to nothing, Adam follows the sign of rounding
            assert (weight - reference[name]).norm() < 1e-2 * reference[name].norm(), name


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_anchor_is_scored(runs: dict[str, Path], launcher: str) -> None:
    for anchor in ("seed-0-tokens-0", "seed-0-tokens-50k", "seed-0-tokens-102400"):
        result = json.loads((runs[launcher] / "results" / anchor / "lmeff_synthetic.json").read_text())
        assert 0 <= result["groups"]["lmeff_synthetic"]["acc,none"] <= 1
        assert not (runs[launcher] / "results" / anchor / ".parts").exists()


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    answer = launch(
        "cpu_ddp", "recipes/quickstart.yaml", "batch.tokens=192", f"paths.outputs={tmp_path}", run=subprocess.run
    )
    assert answer.returncode != 0
    said = "batch.tokens: 192 is 3 sequences of 64, which do not divide among 2 processes; batch.tokens that do: 128 or 256"
    assert answer.stderr.count(said) == 1
    state = json.loads((tmp_path / "quickstart" / "seed-0" / "state.json").read_text())
    assert state["state"] == "failed"
    assert said in state["error"]
