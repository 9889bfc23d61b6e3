"""Objectives that draw what they predict, in real runs: killed and gone on with, and on two processes."""

from pathlib import Path

import pytest
from launching import (
    RECIPE,
    STORIES,
    curve,
    finish,
    kill,
    launch,
    read_lines,
    run_folder,
    start,
    step_of,
    wait_until_stopped,
    weights,
)
from models.tiny_families import tiny_model

MODELS = {
    "bert": tiny_model("bert", hidden_dropout_prob=0.1),
    "xlnet": tiny_model("xlnet"),
    "llama": tiny_model("llama"),
}
WORDS = {
    "bert": ["batch.document_mask=true", "objective.whole_word=true"],
    "xlnet": ["batch.packing=best_fit"],
    "llama": [  # what recipes/gptbert_babylm.yaml has
        "objective.name=hybrid",
        "objective.z_loss=1e-4",
        "batch.document_mask=true",
        "batch.sequence_lengths={0: 8, 1k: 16, 6k: 32}",
    ],
}


@pytest.fixture(scope="module", params=MODELS)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Forty steps of sixteen rows, and words that make the objective's counts uneven."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "stories.jsonl").write_text(STORIES)
    path, text = folder / "recipe.yaml", RECIPE.format(folder=folder)
    begin, _, end = text.partition("model: {")
    path.write_text(f"{begin}model: {{{MODELS[request.param]}{end[end.index('}') :]}")
    return path, [str(path), *WORDS[request.param]]


@pytest.fixture(scope="module")
def whole(recipe: tuple[Path, list[str]]) -> Path:
    path, words = recipe
    finish(start(None, *words, "name=whole"))
    return run_folder(path, "whole")


def counts(run: Path) -> list[tuple[int, int]]:
    return [(line["step"], line["num_loss_tokens"]) for line in read_lines(run / "run.log.jsonl")]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights_and_counts(recipe: tuple[Path, list[str]], whole: Path) -> None:
    path, words = recipe
    run = run_folder(path, "killed")
    manifest = run / "checkpoints" / "step-14" / "manifest.json"
    process = start(None, *words, "name=killed", faults=[f"stop_once:{manifest}"])
    wait_until_stopped(process)
    kill(process)
    assert step_of(run) < 40
    assert "going on from" in finish(start(None, *words, "name=killed"))
    assert (curve(run), counts(run), weights(run)) == (curve(whole), counts(whole), weights(whole))
    steps = [after - before for (_, before), (_, after) in zip(counts(run), counts(run)[1:], strict=False)]
    assert len(set(steps)) > 3, "steps have unequal numbers"


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "micro"), [(None, 16), ("cpu_ddp", 2)])
def test_losses_and_counts_are_the_same_however_a_step_is_divided(
    recipe: tuple[Path, list[str]], whole: Path, launcher: str | None, micro: int
) -> None:
    path, words = recipe
    name = f"{launcher}-{micro}"
    launch(launcher, *words, f"name={name}", f"batch.micro={micro}")
    run = run_folder(path, name)
    assert counts(run) == counts(whole)
    for ours, theirs in zip(curve(run)[:5], curve(whole)[:5], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
