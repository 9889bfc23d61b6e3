"""Scores of a plain table that were made in other ways: never in one prediction, and never silently on one axis."""

from pathlib import Path

import pytest

from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.study import Study
from lmeff.analysis.scores.chosen_task import choose_task
from lmeff.analysis.scores.from_observations import make_curve_table
from lmeff.analysis.scores.paths import read_observations, read_scored
from lmeff.analysis.scores.table_runs import runs_of_table
from lmeff.errors import InputError


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def curves(corpus: str, ways: str) -> list[str]:
    return [f"{corpus},{tokens},0.{50 + tokens},{ways}" for tokens in (1, 2, 4)]


@pytest.mark.parametrize(
    ("column", "usual", "other", "words"),
    [
        ("settings", "few", "many", "settings (many) than most (few)"),
        ("data", "x", "y", "data (y) than most (x)"),
        ("n", "1000", "100", "numbers of examples (100) than most (1000)"),
    ],
)
def test_predictions_are_of_scores_that_were_made_alike(tmp_path, column, usual, other, words):
    lines = [*curves("a", usual), *curves("b", usual), *curves("c", other), *curves("d", "")]
    path = csv(tmp_path / "x.csv", f"corpus,tokens,acc,{column}", *lines)
    chosen, notes = choose_task(read_observations([path])[0], None)
    assert {one.corpus for one in chosen} == {"a", "b", "d"}
    assert any(words in note for note in notes)


def test_scores_of_one_run_in_two_ways_are_no_mistake(tmp_path):
    lines = [*curves("a", "few"), *curves("a", "many"), *curves("b", "few")]
    runs, observations, notes = read_scored([csv(tmp_path / "x.csv", "corpus,tokens,acc,settings", *lines)])
    assert [len(run.anchors) for run in runs] == [3, 3]
    assert {one.settings for one in choose_task(observations, None)[0]} == {"few"}
    assert "score: of a run that was scored in several ways" in " ".join(notes)
    with pytest.raises(InputError, match="3 scores are there more than once"):
        make_curve_table(observations)


def test_a_figure_says_that_scores_of_other_settings_are_not_comparable(tmp_path):
    lines = [*curves("a", "few"), *curves("b", "many")]
    study = Study(*read_scored([csv(tmp_path / "x.csv", "corpus,tokens,acc,settings", *lines)]))
    assert "not scored alike, so not comparable" in " ".join(main_figure(study.series)["usermeta"]["subtitles"])


def test_the_same_run_in_two_tables_is_a_mistake(tmp_path):
    paths = [csv(tmp_path / name, "corpus,tokens,acc", *("a,1,.5", "a,2,.6")) for name in ("x.csv", "y.csv")]
    with pytest.raises(InputError, match="2 scores are there more than once: a, seed 0, 1, score"):
        read_scored(paths)


def test_seeds_with_names_get_numbers_of_their_own(tmp_path):
    lines = ["a,1,1,.5", "a,x,1,.6", "a,\u00b2,1,.7"]
    path = csv(tmp_path / "x.csv", "corpus,seed,tokens,acc", *lines)
    observations, _ = read_observations([path])
    assert sorted(run.seed for run in runs_of_table(path, observations)) == [0, 1, 2]
    assert make_curve_table(observations)[0].num_runs == 3
    assert "x.csv: seeds are shown as numbers: x as 0, \u00b2 as 2" in read_scored([path]).notes


def test_flops_and_parameters_of_a_table_are_those_of_its_runs(tmp_path):
    path = csv(tmp_path / "x.csv", "corpus,size,parameters,flops,tokens,acc", "a,20m,21000000,1e15,1,.5")
    (run,) = read_scored([path]).runs
    assert (run.size, run.num_parameters, run.anchors[0].flops) == ("20m", 21_000_000, 1e15)
