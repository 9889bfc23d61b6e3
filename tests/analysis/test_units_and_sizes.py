"""Scores that stand together or not: words are no tokens, and another vocabulary is no other size."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmeff.analysis.one_table.curves import Curves, Wanted
from lmeff.analysis.scores.chosen_task import choose_task
from lmeff.analysis.scores.from_observations import make_curve_table
from lmeff.analysis.scores.paths import read_observations
from lmeff.cli import main

M = 10**6


def write_model(folder: Path, repository: str, revisions: str, first: float) -> None:
    """Results of the revisions of a model of the Hub, at 1M, 2M and 4M of what its names count."""
    for place, number in enumerate((1, 2, 4)):
        revision = revisions.format(number)
        of_revision = folder / f"{repository.replace('/', '--')}@{revision}"
        of_revision.mkdir(parents=True)
        (of_revision / ".model.json").write_text(json.dumps({"repository": repository, "revision": revision}))
        scores = {"results": {"task": {"alias": "task", "acc,none": first + place / 10}}, "group_subtasks": {}}
        scores |= {"configs": {"task": {}}, "versions": {}, "higher_is_better": {"task": {"acc": True}}}
        scores |= {"n-samples": {"task": {"original": 9, "effective": 9}}}
        (of_revision / "task.json").write_text(json.dumps(scores))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for number in (1, 2):
        write_model(tmp_path, f"org/wordy{number}", "chck_{}M", 0.5)
    for number in (1, 2, 3):
        write_model(tmp_path, f"org/toky{number}", "seed-0-tokens-{}M", 0.6)
    return tmp_path


def test_words_are_not_predicted_from_tokens(models: Path) -> None:
    chosen, notes = choose_task(read_observations([models])[0], None)
    assert {one.unit for one in chosen} == {"tokens"}
    assert {one.cell.partition("@")[0].rpartition("/")[2] for one in chosen} == {"toky1", "toky2", "toky3"}
    (note,) = [note for note in notes if "words" in note]
    assert note.startswith("left out, since they count words where most count tokens: ")
    assert "wordy1" in note
    assert "wordy2" in note
    assert len(make_curve_table(chosen)[0].run_names) == 3


def test_too_few_runs_that_count_tokens_are_told_so(models: Path, capsys: pytest.CaptureFixture) -> None:
    for folder in models.glob("org--toky1@*"):
        shutil.rmtree(folder)
    assert main(["predict", str(models)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("too few runs: 2 recipes have reached the same anchor")
    assert "left out, since they count" in line


def test_models_that_all_count_words_are_predicted_and_it_is_said(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_model(tmp_path, f"org/wordy{number}", "chck_{}M", 0.5)
    chosen, notes = choose_task(read_observations([tmp_path])[0], None)
    assert len({one.cell for one in chosen}) == 3
    assert "these runs count words: where tokens are said of anchors, words are meant" in notes


def test_a_threshold_is_told_in_words_and_in_tokens_apart(models: Path) -> None:
    tables = Curves.read([models]).milestones(Wanted(threshold=0.65, within=0.05))
    assert {lines[0][2] for _, lines in tables} == {"words to 65", "tokens to 65", "words, from", "tokens, from"}
    for _, lines in tables:
        (unit,) = {"words" if "wordy" in line[0] else "tokens" for line in lines[1:]}
        assert lines[0][2].startswith(unit)


def with_shape(run: Path, layers: int, total: int, body: int, vocabulary: int) -> None:
    """A run whose size has no name."""
    recipe, plan = run / "recipe.yaml", run / "plan.json"
    text = recipe.read_text().replace("size: 180m", f"num_hidden_layers: {layers}").replace("50257", str(vocabulary))
    recipe.write_text(text)
    parameters = {"total": total, "embedding": total - body, "non_embedding": body}
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"parameters": parameters}))


def test_one_shape_with_two_vocabularies_is_one_size(fake_run) -> None:
    """Also where the output layer has a bias for every entry."""
    options = {"anchors": (25, 50), "num_pairs": 3}
    for name, *shape in (
        ("a", 2, 9_100_000, 5_008_000, 8_000),
        ("b", 2, 13_300_000, 5_016_000, 16_000),
        ("c", 4, 15_000_000, 9_000_000, 16_000),
    ):
        with_shape(fake_run(name=name, **options), *shape)
    fake_run(name="named", **options)
    runs = fake_run(name="again", **options).parents[1]
    table, _ = make_curve_table(choose_task(read_observations([runs])[0], None)[0])
    sizes = dict(zip(table.cell_names, table.size_of_cell.tolist(), strict=True))
    assert sizes == {"a": 5_008_000, "b": 5_008_000, "c": 9_000_000, "named": 180e6, "again": 180e6}
    known = table.vocabulary_of_cell
    assert np.unique(known[[list(sizes).index(name) for name in "ab"]]).tolist() == [8_000, 16_000]
