"""Whether a folder holds the run that is asked for."""

from pathlib import Path

import pytest
from launching import write_recipe

from lmeff.errors import InputError
from lmeff.formats.manifest import ManifestDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.recipe import read_recipe
from lmeff.runs.changes import check_same_recipe, recipe_changes
from lmeff.runs.extension import check_extension


def begun(folder: Path, *words: str) -> RunFolder:
    """A run's folder with work in it, and its recipe beside."""
    run = RunFolder(folder / "run")
    run.revision("seed-1-tokens-0").mkdir(parents=True)
    run.recipe_yaml.write_text(read_recipe(write_recipe(folder), words).to_yaml())
    return run


def complete(run: RunFolder) -> None:
    """Says that a run came to its end at 20k tokens."""
    step = read_recipe(run.recipe_yaml).recipe.batch.clock.step_of(20_000)
    StateDocument(
        state="complete",
        step=step,
        tokens=20_480,
        next_anchor=None,
        pid=1,
        host="x",
        job=None,
        error=None,
        updated="2026-11-26",
    ).write(run)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("batch.sequence_length=16", "batch.sequence_length was 32, is now 16"),
        ("batch.packing=best_fit", "batch.packing was concatenate, is now best_fit"),
        ("batch.sequence_lengths={0: 16, 5k: 32}", "batch.sequence_lengths.5k was None, is now 32"),
    ],
)
def test_another_order_of_the_text_is_not_gone_on_with(tmp_path: Path, word: str, said: str) -> None:
    run = begun(tmp_path)
    with pytest.raises(InputError) as error:
        check_same_recipe(run, read_recipe(tmp_path / "recipe.yaml", [word]), accept=True)
    assert f"{said}; a run cannot go on with another one" in str(error.value)


def test_leave_is_offered_only_where_it_is_taken(tmp_path: Path) -> None:
    run = begun(tmp_path)

    def refusal(*words: str) -> str:
        with pytest.raises(InputError) as error:
            check_same_recipe(run, read_recipe(tmp_path / "recipe.yaml", words), accept=False)
        return str(error.value)

    assert "or go on with --accept-changes" in refusal("optimizer.learning_rate=1e-3")
    assert refusal("batch.sequence_length=16").endswith("give this run another name (name=...)")
    complete(run)
    line = refusal("optimizer.learning_rate=1e-3")
    assert "complete at 20,480 tokens, and cannot go on: " in line
    assert "--accept-changes" not in line


def test_of_a_complete_run_held_out_losses_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over how much text they are taken is no reason against training on."""
    run = begun(tmp_path, "schedule.name=constant")

    def changes(*words: str, accept: bool = False) -> list[str]:
        words = ("schedule.name=constant", "evaluation.dev_tokens=900", *words)
        resolved = read_recipe(tmp_path / "recipe.yaml", words)
        found = check_same_recipe(run, resolved, accept)
        check_extension(run, resolved.recipe, found)
        return found

    change = "evaluation.dev_tokens was 5000, is now 900"
    with pytest.raises(InputError, match=f"{change}; give this run another name .*, or go on with --accept-changes$"):
        changes()
    complete(run)
    for accept in (False, True):
        assert changes(accept=accept) == []
        assert capsys.readouterr().err == f"{run}: {change}; its held-out losses stay as they were taken\n"
    with pytest.raises(InputError, match=r"cannot go on: nothing is left to train"):
        changes("optimizer.learning_rate=1e-3", accept=True)
    last = run.checkpoint(read_recipe(run.recipe_yaml).recipe.batch.clock.step_of(20_000))
    ManifestDocument.of(last).write(last)
    for tokens in ("0", "5k", "20k"):
        ManifestDocument.of(run.revision(f"seed-1-tokens-{tokens}")).write(run.revision(f"seed-1-tokens-{tokens}"))
    assert changes("anchors.tokens=[0,5k,20k,30k]", accept=True)[1:] == [change]


def test_what_was_never_finished_is_no_work(tmp_path: Path) -> None:
    """A process that was killed while it saved its first anchor or checkpoint leaves a hidden folder."""
    run = begun(tmp_path)
    changed = read_recipe(tmp_path / "recipe.yaml", ["optimizer.learning_rate=1e-3"])
    assert len(recipe_changes(run, changed)) == 1
    run.revision("seed-1-tokens-0").rename(run.revisions / ".seed-1-tokens-0.abcdefgh.tmp")
    for place in ("checkpoints", "parts/5k/checkpoints", "parts/.5k/checkpoints"):
        (run.path / place / ".step-7.abcdefgh.tmp").mkdir(parents=True)
    assert recipe_changes(run, changed) == []
    run.part("5k").checkpoint(7).mkdir()
    assert len(recipe_changes(run, changed)) == 1


def test_what_may_change_is_accepted(tmp_path: Path) -> None:
    run = begun(tmp_path)
    changed = read_recipe(tmp_path / "recipe.yaml", ["batch.document_mask=true", "batch.micro=2"])
    assert check_same_recipe(run, changed, accept=True) == ["batch.document_mask was False, is now True"]


@pytest.mark.parametrize("key", ["5k", "5000", "5_000", "5e3"])
def test_a_schedule_spelled_otherwise_is_the_same(tmp_path: Path, key: str) -> None:
    run = begun(tmp_path, "batch.sequence_lengths={0: 16, 5_000: 32}")
    again = read_recipe(tmp_path / "recipe.yaml", [f"batch.sequence_lengths={{{key}: 32, 0: 16}}"])
    assert check_same_recipe(run, again, accept=False) == []
    kept = run.recipe_yaml.read_text()
    run.recipe_yaml.write_text(kept.replace("5k: 32", "'5_000': 32"))
    assert "'5_000': 32" in run.recipe_yaml.read_text()
    assert check_same_recipe(run, again, accept=False) == []


def test_other_masks_are_another_run_and_saying_a_default_is_none(tmp_path: Path) -> None:
    """Held-out masks are drawn as a recipe says, so that with others a curve would be of two kinds."""
    run = begun(tmp_path, "objective.name=hybrid")
    said = [
        "objective.name=hybrid",
        "objective.mask_rate=0.3",
        "objective.final_mask_rate=0.15",
        "objective.max_span=3",
    ]
    assert check_same_recipe(run, read_recipe(tmp_path / "recipe.yaml", said), accept=False) == []
    with pytest.raises(InputError, match=r"objective\.final_mask_rate was 0\.15, is now 0\.2; a run cannot go on"):
        check_same_recipe(
            run, read_recipe(tmp_path / "recipe.yaml", [*said[:2], "objective.final_mask_rate=0.2"]), accept=True
        )
