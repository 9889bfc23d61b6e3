"""Every training loss says which steps it is the mean of, also where a restart lies between them."""

import json
import signal
from pathlib import Path

import pytest
from launching import ended, finish, read_lines, run_folder, start, write_recipe

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("reporting"))


@pytest.fixture(scope="module")
def losses(recipe: Path) -> dict[int, float]:
    """The loss of every single step."""
    finish(start(None, str(recipe), "name=every"))
    lines = read_lines(run_folder(recipe, "every") / "run.log.jsonl")
    assert [line["loss_steps"] for line in lines] == [[step, step] for step in range(1, 41)]
    return {line["step"]: line["loss"] for line in lines}


def anchors(run: Path) -> list[dict]:
    found = [json.loads(path.read_text()) for path in run.glob("revisions/*-tokens-*/anchor.json")]
    return sorted(found, key=lambda one: one["step"])


def test_an_anchor_has_the_loss_of_its_own_step(recipe: Path, losses: dict[int, float]) -> None:
    found = anchors(run_folder(recipe, "every"))
    assert [one["loss_steps"] for one in found] == [None, [10, 10], [40, 40]]
    assert [one["loss"] for one in found] == [None, pytest.approx(losses[10]), pytest.approx(losses[40])]
    card = (run_folder(recipe, "every") / "revisions" / "seed-1-tokens-5k" / "README.md").read_text()
    assert f"| training loss (nats per token), of step 10 alone | {losses[10]:.4f}" in card


def test_a_line_of_the_log_has_the_mean_of_its_steps(recipe: Path, losses: dict[int, float]) -> None:
    """Killed at step 15; the checkpoint is of step 14, in the middle of a line."""
    words = (str(recipe), "name=fifth", "training.logging_steps=5")
    code, said = ended(start(None, *words, faults=["kill_at_write:3:*/run.log.jsonl"]))
    assert code == -signal.SIGKILL, said
    assert "checkpoints/step-14" in finish(start(None, *words))
    lines = read_lines(run_folder(recipe, "fifth") / "run.log.jsonl")
    assert [line["loss_steps"] for line in lines] == [[step + 1, step + 5] for step in range(0, 40, 5)]
    for line in lines:
        first, last = line["loss_steps"]
        steps = range(first, last + 1)
        assert line["loss"] == pytest.approx(sum(losses[step] for step in steps) / len(steps), rel=1e-5)


def test_a_mean_that_lacks_a_step_is_none(recipe: Path) -> None:
    """Step 9 is left out; the restart lies between it and the line that it belongs to."""
    words = (str(recipe), "name=lacks", "training.logging_steps=15", "optimizer.nonfinite=skip")
    code, said = ended(start(None, *words, faults=["nan_at_step:9", "kill_at_write:1:*/run.log.jsonl"]))
    assert code == -signal.SIGKILL, said
    finish(start(None, *words))
    first, second = read_lines(run_folder(recipe, "lacks") / "run.log.jsonl")
    assert (first["step"], first["num_skipped_steps"], first["loss"], first["loss_steps"]) == (15, 1, None, None)
    assert (second["step"], second["loss_steps"]) == (30, [16, 30])
