"""`tests/benchmarks/families_study.py` knows what is left to do, and sums up what is done."""

import json
from pathlib import Path

import numpy as np
import pytest
from analysis.fake_runs import GROUP, revision_name, write_fake_run
from benchmarks.families_study import ARMS, Study, commands
from benchmarks.families_summary import write_summary
from scipy.stats import studentized_range, ttest_rel

ANCHORS = (0, 50, 100)


def accuracies(run: Path) -> list[float]:
    """By anchor, from the results that lm-eval would have written."""
    files = [run / "results" / revision_name(0, millions) / f"{GROUP}.json" for millions in ANCHORS]
    return [100 * json.loads(path.read_text())["results"][GROUP]["acc,none"] for path in files]


def change(run: Path, file: str, **values: object) -> None:
    """Writes values into the JSON files of this name."""
    for path in run.rglob(file):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cells(summary: str, arm: str, minus: str | None = None) -> list[str]:
    """The row of an arm, without the cell of its name: its own one, or what it differs from another arm by."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary.splitlines() if line.startswith("|")]
    (row,) = (row for row in rows if row[0] == arm and (row[1].isdigit() if minus is None else row[1] == minus))
    return row[1:] if minus is None else row[2:]


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A Llama, a hybrid, a Mamba-2 of twice as many FLOPs, a BERT that is scored otherwise, and runs that are not done."""
    folder = tmp_path / "study"
    for number, arm in enumerate(("llama", "hybrid", "mamba2", "bert")):
        write_fake_run(folder, arm, anchors=ANCHORS, num_pairs=20, quality=number / 4)
    write_fake_run(folder, "gpt2", anchors=ANCHORS, num_pairs=20, scored=False)
    write_fake_run(folder, "gptj", anchors=ANCHORS, num_pairs=20, state="interrupted")
    for path in (folder / "mamba2").rglob("anchor.json"):
        change(path.parent, "anchor.json", flops=2 * json.loads(path.read_text())["flops"])
    for arm, scoring in (("llama", "causal"), ("bert", "pseudo_log_likelihood")):
        change(folder / arm, f"{GROUP}.json", lmeff={"settings": {"scoring": scoring}})
    return folder


@pytest.mark.medium
def test_a_row_for_what_is_done(done: Path) -> None:
    summary = write_summary(done, list(ARMS))
    assert [line.split("|")[1].strip() for line in summary.splitlines()[2:6]] == ["llama", "hybrid", "bert", "mamba2"]
    assert summary.splitlines()[6] == ""
    assert "100M tokens; 1 seed (0); BLiMP over 1,340 pairs" in summary
    assert (done / "summary.md").read_text() == summary + "\n"
    assert {path.name for path in done.glob("*.svg")} == {"families.svg", "hybrids.svg"}


@pytest.mark.medium
def test_differences_at_equal_tokens_and_equal_flops(done: Path) -> None:
    summary = write_summary(done, list(ARMS))
    llama, hybrid, mamba2 = (accuracies(done / arm / "seed-0") for arm in ("llama", "hybrid", "mamba2"))
    assert cells(summary, "llama")[5].startswith(f"{llama[-1]:.1f} [")
    assert cells(summary, "hybrid", "llama")[2].startswith(f"{hybrid[-1] - llama[-1]:.1f} [")  # over pairs
    assert cells(summary, "hybrid", "llama")[3] == "the same anchors"
    assert cells(summary, "mamba2", "llama")[2].startswith(f"{mamba2[-1] - llama[-1]:.1f} [")
    assert cells(summary, "mamba2", "llama")[3] == f"{mamba2[1] - llama[-1]:.1f}"  # half of the tokens, as many FLOPs
    assert cells(summary, "bert", "llama") == ["scored otherwise"] * 4
    assert cells(summary, "differs from all others", "") == ["none"] * 4


@pytest.mark.medium
def test_differences_over_seeds_hold_for_all_arms_at_once(tmp_path: Path) -> None:
    """As of a two-way layout, by hand; an interval of one arm alone can leave out zero by the luck of three seeds."""
    arms = ("llama", "hybrid", "hybrid_half", "hybrid_zero")
    points = np.array([[53.8, 53.0, 52.9], [51.6, 52.4, 50.0], [51.9, 51.4, 51.6], [51.9, 54.7, 53.2]])
    for arm, of_arm in zip(arms, points, strict=True):
        for seed, value in enumerate(of_arm):
            run = write_fake_run(tmp_path, arm, seed, anchors=(0, 50), num_pairs=20)
            for path in run.rglob(f"{GROUP}.json"):
                document = json.loads(path.read_text())
                for part in ("results", "groups"):
                    document[part][GROUP]["acc,none"] = value / 100
                path.write_text(json.dumps(document))
    summary = write_summary(tmp_path, list(ARMS))
    residuals = points - points.mean(1, keepdims=True) - points.mean(0) + points.mean()
    half = studentized_range.ppf(0.95, 4, 6) * np.sqrt((residuals**2).sum() / 6 / 3)
    for arm, twin in ((2, 0), (1, 3), (3, 0)):
        mean = points[arm].mean() - points[twin].mean()
        assert cells(summary, arms[arm], arms[twin])[2] == f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"
    low, high = ttest_rel(points[2], points[0]).confidence_interval()
    assert low < high < 0 < points[2].mean() - points[0].mean() + half
    assert "| hybrid_half | hybrid_zero |" in summary
    assert "| llama | hybrid_zero |" not in summary


def test_what_is_left_to_do(tmp_path: Path) -> None:
    study = Study(tmp_path / "data", tmp_path / "study", 500_000, 50)
    assert [words[0] for words in commands(study, "llama", 0)] == ["lmeff.run"]
    for arm in ("llama", "bert"):
        write_fake_run(study.output, arm, anchors=(0, 1), scored=False)
    assert list(commands(study, "llama", 0)) == []
    run = study.output / "bert" / "seed-0"
    (scoring,) = commands(study, "bert", 0)
    assert scoring == ("lmeff.cli", "eval", str(run), "--revisions", "seed-0-tokens-1M")
    (run / "results" / "seed-0-tokens-1M").mkdir(parents=True)
    (run / "results" / "seed-0-tokens-1M" / f"{GROUP}.json").touch()
    assert list(commands(study, "bert", 0)) == []
    change(run, "state.json", state="interrupted")
    assert [words[0] for words in commands(study, "bert", 0)] == ["lmeff.run"]


def test_an_arm_of_more_flops_has_one_more_anchor(tmp_path: Path) -> None:
    study = Study(tmp_path / "data", tmp_path / "study", 500_000, 50)
    assert study.anchors("hybrid") == study.anchors("llama") == [0, 125_000, 250_000, 500_000]
    (more,) = set(study.anchors("mamba2")) - set(study.anchors("llama"))
    share = study.flops("gpt2") / study.flops("mamba2")  # the cheapest one
    assert more % 4096 == 0
    assert 0 <= 500_000 * share - more < 4096
