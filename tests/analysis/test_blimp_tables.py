"""A table of BLiMP's paradigms has their phenomena, too, in every form in which it is shown."""

import csv
from math import sqrt
from pathlib import Path

import pytest

import lmeff
from lmeff.analysis.charts.figures import page_figures
from lmeff.analysis.charts.study import Study
from lmeff.analysis.one_table.curves import Curves, Wanted
from lmeff.analysis.scores.paths import read_observations, read_scored

pytestmark = pytest.mark.medium
NAMES = {
    "island_effects": ("adjunct_island", "wh_island", "complex_NP_island"),
    "anaphor_agreement": ("anaphor_gender_agreement", "anaphor_number_agreement"),
    "argument_structure": ("intransitive", "transitive"),
}
PARADIGMS = [name for names in NAMES.values() for name in names]


def score(place: int, seed: int, tokens: int) -> float:
    return round(0.4 + 0.03 * place + 0.01 * seed + tokens / 1000, 4)


def write(path: Path, prefix: str = "blimp_", lacks: tuple[str, int] | None = None, more: tuple[str, ...] = ()) -> Path:
    """Scores of two corpora and three seeds; `lacks` is a paradigm that seed 1 of `web` has no score of at so many tokens."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("corpus", "seed", "tokens", "task", "acc", "stderr", "n"))
        for corpus in ("tales", "web"):
            for seed in (0, 1, 2):
                for tokens in (10, 20, 40):
                    for place, name in enumerate(PARADIGMS):
                        if (corpus, seed, name, tokens) != ("web", 1, *(lacks or ())):
                            row = (score(place, seed, tokens), 0.01 * (place + 1), 100)
                            writer.writerow((corpus, seed, tokens, prefix + name, *row))
                    for task in more:
                        writer.writerow((corpus, seed, tokens, task, 0.9, 0.01, 7))
    return path


def value(table, task: str, **wanted: object):
    (row,) = table[(table["task"] == task) & (table[list(wanted)] == list(wanted.values())).all(axis=1)].to_dict(
        "records"
    )
    return row


@pytest.mark.parametrize("prefix", ["blimp_", "lmeff_blimp_", ""])
def test_phenomena_and_the_suite_are_unweighted_means(tmp_path, prefix):
    table = Curves.read([write(tmp_path / "scores.csv", prefix)]).table
    suite = prefix.rstrip("_") or "blimp"
    levels = table.drop_duplicates("task").set_index("task")["level"].to_dict()
    assert levels[suite] == "group"
    assert {task for task, level in levels.items() if level == "phenomenon"} == {f"{suite}_{name}" for name in NAMES}
    for phenomenon, names in NAMES.items():
        places = [PARADIGMS.index(name) for name in names]
        row = value(table, f"{suite}_{phenomenon}", recipe="web", seed=2, nominal_tokens=20)
        assert row["value"] == pytest.approx(sum(score(place, 2, 20) for place in places) / len(places))
        assert row["stderr"] == pytest.approx(sqrt(sum((0.01 * (place + 1)) ** 2 for place in places)) / len(places))
        assert row["n"] == 100 * len(places)
        for name in names:
            assert value(table, prefix + name, recipe="web", seed=2, nominal_tokens=20)["phenomenon"] == row["task"]
    whole = value(table, suite, recipe="tales", seed=0, nominal_tokens=40)["value"]
    assert whole == pytest.approx(sum(score(place, 0, 40) for place in range(7)) / 7)


def test_what_lacks_a_paradigm_has_no_mean(tmp_path):
    table = Curves.read([write(tmp_path / "scores.csv", lacks=("wh_island", 20))]).table
    counts = table.groupby("task").size().to_dict()
    assert counts["blimp"] == counts["blimp_island_effects"] == 17
    assert counts["blimp_anaphor_agreement"] == 18


def test_what_the_table_says_itself_stays(tmp_path):
    more = ("blimp", "blimp_island_effects", "piqa")
    curves = Curves.read([write(tmp_path / "scores.csv", more=more)])
    assert {value(curves.table, task, recipe="web", seed=0, nominal_tokens=10)["value"] for task in more} == {0.9}
    assert value(curves.table, "piqa", recipe="web", seed=0, nominal_tokens=10)["level"] == "paradigm"
    assert set(curves.table[curves.table["level"] == "phenomenon"]["task"]) == {f"blimp_{name}" for name in NAMES}
    (said,) = [note for note in curves.notes if "BLiMP" in note]
    assert said.endswith("means over them are blimp_anaphor_agreement, blimp_argument_structure"), (
        "the others are its own"
    )


def test_two_suites_are_no_one(tmp_path):
    """Each has its own means of what the table calls alike in both, and a paradigm is counted once."""
    path = tmp_path / "scores.csv"
    rows = [
        f"1,{suite}_{name},{value},islands"
        for suite, value in (("en", 0.5), ("nl", 0.9))
        for name in ("wh_island", "adjunct_island")
    ]
    path.write_text("\n".join(["tokens,task,acc,phenomenon", *rows, "1,nl_passive_1,.6,passives"]) + "\n")
    curves = Curves.read([path])
    of_groups = curves.table[curves.table["level"] != "paradigm"].set_index("task")["value"].to_dict()
    assert of_groups == {
        "en": 0.5,
        "en_islands": 0.5,
        "nl": pytest.approx(0.8),
        "nl_islands": 0.9,
        "passives": 0.6,
    }
    for suite in ("en", "nl"):
        assert value(curves.table, f"{suite}_wh_island")["parent"] == f"{suite}_islands"
        assert value(curves.table, f"{suite}_islands")["parent"] == suite
    (said,) = [note for note in curves.notes if "BLiMP" in note]
    assert (
        "tasks are 3 of BLiMP's 67 paradigms; unweighted means over them are en and its phenomena, nl and its" in said
    )


def test_phenomena_of_the_table_itself_count(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("tokens,task,acc,phenomenon\n1,wh_island,.5,hard\n1,adjunct_island,.7,hard\n1,passive_1,.8,easy\n")
    table = Curves.read([path]).table
    assert value(table, "hard", nominal_tokens=1)["value"] == pytest.approx(0.6)
    assert value(table, "easy", nominal_tokens=1)["value"] == pytest.approx(0.8)
    assert value(table, "blimp", nominal_tokens=1)["value"] == pytest.approx(2 / 3)


def test_tasks_that_are_no_paradigms_are_left_alone(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("tokens,task,acc\n1,passive_1,.5\n1,piqa,.6\n1,a_transitive,.7\n")
    observations, notes = read_observations([path])
    assert [one.task for one in observations] == ["passive_1", "piqa", "a_transitive"]
    assert not any("BLiMP" in note for note in notes)


def test_it_is_said_and_shown(tmp_path):
    path = write(tmp_path / "scores.csv")
    curves = Curves.read([path])
    said = "scores.csv: tasks are 7 of BLiMP's 67 paradigms; unweighted means over them are blimp and its phenomena"
    assert said in curves.notes
    assert "island\\_effects" in curves.text("markdown", Wanted(level="phenomenon"))
    assert curves.text("markdown").count("| recipe |") == 1, "of the suite alone"
    study = Study(*read_scored([path]))
    wanted = {
        "phenomena",
        "paradigms",
        "grouped_phenomena",
        "phenomena_map",
        "paradigms_map",
        "paradigm_boxes",
        "seed_boxes",
    }
    assert wanted <= set(page_figures(study))
    assert {one.task for one in study.observations} == {"blimp"}
    spec = lmeff.plot(path, figure="grouped_phenomena").to_dict()
    rows = [row for rows in spec["datasets"].values() for row in rows if row.get("title") == "island effects"]
    mean = sum(score(place, seed, 40) for place in range(3) for seed in (0, 1, 2)) / 9
    assert [row["value"] for row in rows] == pytest.approx([100 * mean, 100 * mean])
    assert {"value": 50} in [row for rows in spec["datasets"].values() for row in rows]
