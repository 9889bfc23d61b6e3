"""The quickstart recipe, made shorter, through the real `accelerate launch`: from nothing to a report, then to no work."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import prepared
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def launch(folder: Path, *words: str, run: Callable = subprocess.run) -> subprocess.CompletedProcess:
    """Really launched; with the `run` of `prepared`, its processes are forked."""
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    command = [accelerate, "launch", "--quiet", "--config_file", "launchers/cpu.yaml", "-m", "lmeff.run"]
    command += ["recipes/quickstart.yaml", f"paths.outputs={folder}/outputs", f"paths.data={folder}/data", *words]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)


def test_a_curve_out_of_nothing(tmp_path: Path) -> None:
    words = (
        "corpus.synthetic.num_documents=5000",
        "anchors.tokens=[0,40k,400k]",
        "schedule.warmup=10 steps",
        "evaluation.limit=40",
    )
    answer = launch(tmp_path, *words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    run = tmp_path / "outputs" / "quickstart" / "seed-0"
    assert f"report: {run / 'report.html'}" in answer.stdout
    page = (run / "report.html").read_text()
    assert all(
        name in page for name in ("seed-0-tokens-0", "seed-0-tokens-40k", "seed-0-tokens-400k", "lmeff_synthetic")
    )
    assert (run / "report.png").read_bytes().startswith(b"\x89PNG")
    scores = [
        json.loads((run / "results" / f"seed-0-tokens-{name}" / "lmeff_synthetic.json").read_text())["results"]
        for name in ("0", "400k")
    ]
    before, after = (score["lmeff_synthetic"]["acc,none"] for score in scores)
    assert after > before + 0.1, "the model learned some grammar"
    losses = [
        json.loads((run / "revisions" / f"seed-0-tokens-{name}" / "anchor.json").read_text()) for name in ("0", "400k")
    ]
    assert losses[1]["dev_loss"] < 0.6 * losses[0]["dev_loss"]

    again = launch(tmp_path, *words, run=prepared.run)
    assert again.returncode == 0
    assert "is complete" in again.stdout
    assert "nothing to do" in again.stdout


def test_a_mistake_is_told_without_a_traceback(tmp_path: Path) -> None:
    answer = launch(tmp_path, "optimizer.learning_rat=1e-3", "batch.tokens=big")
    assert answer.returncode == 1, "accelerate makes 1 of any failure"
    lines = [line for line in answer.stderr.splitlines() if line]
    assert len(lines) == 2, answer.stderr
    assert "did you mean" in answer.stderr
    assert "Traceback" not in answer.stderr
