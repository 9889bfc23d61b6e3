"""Runs with a curriculum: killed and gone on with to the same bits, on two processes, in branches, and none at all."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import prepared
import pytest
from launching import ROOT, curve, environment, read_lines, run_folder, weights, write_recipe
from training.in_turn import run_in_turn

from lmeff.methods.curriculum import scoring
from lmeff.methods.curriculum.order import DecidedStages
from lmeff.methods.curriculum.pacing import PacingCallback
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe

OWN_LOSS = [
    "curriculum.protocol=iterative",
    "curriculum.order=own_loss",
    "curriculum.start=0.3",
    "curriculum.step=0.3",
    "curriculum.pacing=share",
]
"""Stages begin at steps 7, 14 and 20 of 40; checkpoints are made every 7 steps."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("curriculum"))


def run(recipe: Path, name: str, words: Sequence[str]) -> Path:
    assert run_in_turn([[str(recipe), f"name={name}", *words]]) == [0]
    return run_folder(recipe, name)


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    return run(recipe, "whole", OWN_LOSS)


def sequences(folder: Path) -> list[list[int]]:
    return [line["sequence_ids"] for line in read_lines(folder / "samples.jsonl")]


def stages(folder: Path) -> list[tuple[int, int]]:
    return [(line["step"], line["stage"]) for line in read_lines(folder / "curriculum.jsonl")]


@pytest.mark.slow
def test_stages_begin_where_the_share_says(whole: Path) -> None:
    lines = read_lines(whole / "curriculum.jsonl")
    assert stages(whole) == [(0, 0), (7, 1), (14, 2), (20, 3)]
    assert [line["share"] for line in lines] == [0.3, 0.6, 0.9, 1.0]
    seen = [line["num_documents_seen"] for line in lines]
    assert seen[0] == 0
    assert seen[1] <= lines[0]["num_documents"] < lines[1]["num_documents"]
    assert seen == sorted(seen)
    anchors = [json.loads(path.read_text()) for path in sorted(whole.glob("revisions/seed-1-*/anchor.json"))]
    of_step = {anchor["step"]: anchor["flops_scoring"] for anchor in anchors}
    # One scoring at step 7, three by the end; each is of the same documents in the same windows.
    assert of_step[0] == 0 < of_step[10]
    assert of_step[40] == 3 * of_step[10]


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [14, 18])
def test_a_killed_run_goes_on_to_the_same_bits(
    recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Inside a stage; and at its end, when documents are scored and no checkpoint has it yet."""
    name = f"killed_{killed_at}"
    with monkeypatch.context() as patched:
        if killed_at == 14:
            begin = DecidedStages.begin

            def fail(order: DecidedStages, stage: object) -> None:
                begin(order, stage)
                if stage.first_step == 14:
                    raise RuntimeError("killed between scoring and its checkpoint")

            patched.setattr(DecidedStages, "begin", fail)
        else:
            step_end = PacingCallback.on_step_end

            def fail_within(callback: PacingCallback, args, state, control, **more) -> None:
                if state.global_step == 18:
                    raise RuntimeError("killed inside a stage")
                step_end(callback, args, state, control, **more)

            patched.setattr(PacingCallback, "on_step_end", fail_within)
        assert run_in_turn([[str(recipe), f"name={name}", *OWN_LOSS]]) == [1]
    killed, counted = run_folder(recipe, name), []
    assert (killed / "checkpoints" / ("step-7" if killed_at == 14 else "step-14")).is_dir()
    assert not (killed / "checkpoints" / f"step-{killed_at}").exists()
    score_batch = scoring._score_batch
    monkeypatch.setattr(scoring, "_score_batch", lambda *given: [counted.append(1), score_batch(*given)][1])
    run(recipe, name, OWN_LOSS)
    assert (curve(killed), weights(killed)) == (curve(whole), weights(whole))
    assert sequences(killed) == sequences(whole)
    lines = [(folder / "curriculum.jsonl").read_text() for folder in (killed, whole)]
    assert lines[0] == lines[1]
    # The stage that was scored before the kill is not scored again: one scoring is left.
    lengths = prepared_tokens(read_recipe(recipe).recipe).train_documents[:, 0]
    assert len(counted) == len(scoring.Windows.of(np.asarray(lengths), 32).batches())


@pytest.mark.slow
def test_all_from_the_start_is_full_repeated_and_no_curriculum(recipe: Path) -> None:
    plain = run(recipe, "plain", [])
    repeated = run(recipe, "repeated", ["curriculum.protocol=full_repeated"])
    all_words = ["curriculum.protocol=iterative", "curriculum.order=own_loss", "curriculum.start=1"]
    iterative = run(recipe, "iterative", all_words)
    for other in (repeated, iterative):
        assert (curve(other), weights(other)) == (curve(plain), weights(plain))
        assert sequences(other) == sequences(plain)


@pytest.mark.slow
def test_a_plateau_ends_a_stage(recipe: Path) -> None:
    """Whatever the threshold calls no improvement."""
    words = ["curriculum.protocol=iterative", "curriculum.order=sentence_length", "curriculum.start=0.4"]
    words += ["curriculum.step=0.2", "curriculum.look_every=1024", "curriculum.threshold=9", "curriculum.patience=2"]
    folder = run(recipe, "plateau", words)
    lines = read_lines(folder / "curriculum.jsonl")
    # The first look of a stage is the best so far; two more are none, at every second step.
    assert [(line["step"], line["stage"]) for line in lines if line["stage"]] == [
        (6, 1), (8, 1), (10, 1), (12, 2), (14, 2), (16, 2), (18, 3)
    ]  # fmt: skip
    losses = [line["dev_loss"] for line in lines[1:]]
    assert losses[-1] < losses[0]
    faulty = run(recipe, "plateau_faulty", [*words, "curriculum.faults=[best_of_all_stages]"])
    assert [step for step, stage in stages(faulty) if stage][::2] == [6, 10, 14]


@pytest.mark.slow
def test_branches_go_on_with_the_stages_of_the_trunk(recipe: Path) -> None:
    words = [*OWN_LOSS, "anchors.mode=anneal", "schedule.name=wsd", "anchors.tokens=[10k,20k]"]
    folder = run(recipe, "anneal", words)
    trunk, branches = sequences(folder / "parts" / "trunk"), {}
    for name in ("10k", "20k"):
        lines = read_lines(folder / "parts" / name / "samples.jsonl")
        branches[name] = {line["step"]: line["sequence_ids"] for line in lines}
    plan = json.loads((folder / "plan.json").read_text())
    for part in plan["parts"][1:]:
        first = part["first_step"] + 1
        assert min(branches[part["name"]]) == first
        if first <= len(trunk):
            assert branches[part["name"]][first] == trunk[first - 1]
    assert [step for step, _ in stages(folder / "parts" / "trunk")] == [0, 7, 14, 20]


@pytest.mark.slow
def test_a_distilled_run_by_the_loss_of_a_reference(recipe: Path, whole: Path) -> None:
    """Both are the final model of another run. The reference is asked once for all runs on the text."""
    model = whole / "revisions" / "seed-1"
    words = [*OWN_LOSS, "curriculum.order=reference_loss", f"curriculum.reference={model}"]
    folder = run(recipe, "distilled", [*words, f"distillation.teachers=[{model}]"])
    anchor = json.loads((folder / "revisions" / "seed-1" / "anchor.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    assert anchor["flops_teachers"] == plan["flops_teachers"] == anchor["flops"] / 3
    text = read_recipe(recipe).recipe
    windows = scoring.Windows.of(np.asarray(prepared_tokens(text).train_documents[:, 0]), 32)
    per_token = plan["flops_per_token"] / 3
    assert anchor["flops_scoring"] == sum(rows.size * shape for shape, rows in windows.batches()) * per_token
    assert stages(folder) == stages(whole)
    again = run(recipe, "again", [*words, "seed=2"])
    other_seed = again.with_name("seed-2")
    kept = list((recipe.parent / "data").glob("*/tokens/*/scores/reference_loss-*.npz"))
    assert len(kept) == 1
    lines = [read_lines(one / "curriculum.jsonl")[0]["num_documents"] for one in (folder, other_seed)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_two_processes_read_the_same(recipe: Path, whole: Path, tmp_path: Path) -> None:
    launches = tmp_path / "launches.json"
    launches.write_text(json.dumps([[str(recipe), "name=two", *OWN_LOSS]]))
    command = ["-m", "accelerate.commands.launch", "--quiet", "--config_file", "launchers/cpu_ddp.yaml"]
    ended = prepared.run(
        [sys.executable, *command, str(ROOT / "tests" / "training" / "in_turn.py"), str(launches)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    two = run_folder(recipe, "two")
    assert sequences(two) == sequences(whole)
    assert stages(two) == stages(whole)
    for one, other in zip(curve(two), curve(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
