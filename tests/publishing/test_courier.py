"""When a revision goes to the Hub while its run trains."""

from pathlib import Path

import pytest

from lmeff.formats.result import write_result
from lmeff.publishing.courier import is_measured
from lmeff.recipe.sections.evaluation import Evaluation

LM_EVAL_KEYS = ("results", "configs", "versions", "n-samples", "higher_is_better")


def write(folder: Path, name: str, kind: str) -> None:
    folder.mkdir(exist_ok=True)
    write_result(folder / f"{name}.json", {key: {} for key in LM_EVAL_KEYS} | {"kind": kind})


def test_a_revision_waits_for_its_scores(tmp_path: Path) -> None:
    section = Evaluation(tasks=["a", "b"], measures=["perplexity"])
    assert not is_measured(section, tmp_path / "results")
    write(tmp_path / "results", "a", "choices")
    assert not is_measured(section, tmp_path / "results")
    write(tmp_path / "results", "b", "pairs")
    assert is_measured(section, tmp_path / "results"), "tasks are scored after everything else"


@pytest.mark.parametrize("at_anchors", [True, False])
def test_a_revision_without_tasks_waits_for_its_other_measures(tmp_path: Path, at_anchors: bool) -> None:
    section = Evaluation(tasks=[], at_anchors=at_anchors, measures=["perplexity", "generation", "weights"])
    assert is_measured(section, tmp_path) == (not at_anchors)
    write(tmp_path, "perplexity_dev", "perplexity")
    assert is_measured(section, tmp_path) == (not at_anchors)
    write(tmp_path, "generation", "generation")
    assert is_measured(section, tmp_path), "a card does not show what is measured of the weights"


def test_a_revision_of_which_nothing_is_measured_goes_at_once(tmp_path: Path) -> None:
    assert is_measured(Evaluation(tasks=[], measures=["profile"]), tmp_path)
