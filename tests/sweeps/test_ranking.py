"""`lmeff sweep rank`, on result files that were written by hand."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from analysis.fake_runs import write_json
from scipy.stats import studentized_range
from sweeps.ranked import RECIPE, SWEEP, VALUES
from sweeps.written_runs import write_run

from lmeff.cli.main import main
from lmeff.sweeps.cases import Case, Sweep, read_sweep
from lmeff.sweeps.ranking.rank import rank_sweep


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(SWEEP)
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_run(case, VALUES[case.name][case.seed])
    return sweep


def write_result(case: Case, task: str, metric: str, value: float, higher_is_better: dict[str, bool]) -> None:
    result: dict[str, Any] = {
        "results": {task: {"alias": task, f"{metric},none": value}},
        "configs": {},
        "versions": {},
    }
    result |= {"n-samples": {task: {"original": 9, "effective": 9}}, "higher_is_better": {task: higher_is_better}}
    write_json(case.run.results_of(f"seed-{case.seed}-tokens-20k") / f"{task}.json", result)


def write_profile(case: Case, milliseconds: float, load: float | None = 0.02) -> None:
    profile = {
        "machine": {"device": "cpu", "load_average": 1.5, "load_of_others": load},
        "latency": [{"length": 32, "median_ms": milliseconds}],
    }
    write_json(case.run.results_of(f"seed-{case.seed}-tokens-20k") / "profile" / "cpu-float32.json", profile)


def cases_of(sweep: Sweep, name: str) -> list[Case]:
    return [case for case in sweep.cases if case.name == name]


@pytest.mark.medium
def test_the_best_case_wins_where_it_differs_from_every_other(study: Sweep) -> None:
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]] == sorted(VALUES, key=lambda name: sum(VALUES[name]))
    assert ranking["winner"] == "hidden_size-64_fast"
    assert (ranking["test"], ranking["tokens"]) == ("Tukey's HSD, within seeds", 20_000)
    second = ranking["rows"][1]
    assert second["behind"] == pytest.approx(
        sum(VALUES["hidden_size-64_slow"]) / 3 - sum(VALUES["hidden_size-64_fast"]) / 3
    )
    half = studentized_range.ppf(0.95, 4, 6) * ranking["seed_sd"] / math.sqrt(3)
    assert (second["low"], second["high"]) == pytest.approx((second["behind"] - half, second["behind"] + half))
    assert second["values"] == {"model.hidden_size": 64, "rate": "slow"}
    widths = {one["value"]: one["mean"] for one in ranking["axes"]["model.hidden_size"]}
    assert widths == pytest.approx({"64": (1.80 + 1.81 + 1.83 + 1.50 + 1.52 + 1.51) / 6, "32": 11.77 / 6})


def test_nobody_wins_while_a_case_is_missing(study: Sweep) -> None:
    for case in cases_of(study, "hidden_size-32_slow"):
        write_run(case, 2.0, state="running")
    ranking = rank_sweep(study)
    assert ranking["winner"] is None
    assert ranking["missing"][0] == "hidden_size-32_slow, seed 0: running"
    assert len(ranking["rows"]) == 3
    assert ranking["axes"] == {}


def test_nor_of_one_seed(study: Sweep) -> None:
    ranking = rank_sweep(read_sweep("s.yaml", ["seed=[0]"]))
    assert (ranking["winner"], ranking["seed_sd"]) == (None, None)


@pytest.mark.medium
def test_ties_go_by_latency_where_it_was_measured(study: Sweep) -> None:
    for case in cases_of(study, "hidden_size-64_slow"):
        write_run(case, [1.50, 1.52, 1.52][case.seed])
    tied = ["hidden_size-64_fast", "hidden_size-64_slow"]
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]][:2] == tied
    assert ranking["winner"] is None
    assert ranking["notes"] == [f"ties are not broken by latency: no profile on an idle machine of {', '.join(tied)}"]
    for name, milliseconds in zip(tied, (5.0, 4.0), strict=True):
        write_profile(cases_of(study, name)[0], milliseconds)
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]][:2] == tied[::-1]
    assert [row["latency_ms"] for row in ranking["rows"]] == [4.0, 5.0, None, None]
    assert (ranking["winner"], ranking["notes"]) == (None, [])
    for load in (0.06, None):  # a machine that had other work, and one that does not say it
        write_profile(cases_of(study, tied[0])[0], 5.0, load)
        assert rank_sweep(study)["notes"] == [
            f"ties are not broken by latency: no profile on an idle machine of {tied[0]}"
        ]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("task", "metric", "told", "best"),
    [
        ("glossary", "acc", {"acc": True}, "hidden_size-32_slow"),  # its name has "loss" in it
        ("quiz", "brier_score", {"brier_score": False}, "hidden_size-64_fast"),
        ("quiz", "mse", {"acc": True}, None),
    ],
)
def test_the_results_of_a_task_say_which_way_is_better(
    study: Sweep, capsys: pytest.CaptureFixture[str], task: str, metric: str, told: dict[str, bool], best: str | None
) -> None:
    for case in study.cases:
        write_result(case, task, metric, VALUES[case.name][case.seed] / 10, told)
    if best is None:
        assert main(["sweep", "rank", "s.yaml", "--metric", f"{task}:{metric}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("--metric quiz:mse: its results do not say whether higher or lower is better")
    else:
        ranking = rank_sweep(study, f"{task}:{metric}")
        assert (ranking["rows"][0]["case"], ranking["lower_is_better"]) == (best, not told[metric])


def test_a_case_alone_has_nothing_to_be_compared_with(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    for case in read_sweep("base.yaml", ["seed=[0,1,2]"]).cases:
        write_run(case, 2.0 + case.seed / 100)
    assert main(["sweep", "rank", "base.yaml", "seed=[0,1,2]"]) == 0
    said = "no winner: base is the only case with a result, so there is none to compare it with"
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.medium
def test_what_is_not_of_one_text_is_refused(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    text = SWEEP.replace(
        "rate:\n    slow: {optimizer.learning_rate: 1e-3}\n", "text:\n    few: {corpus.synthetic.seed: 1}\n"
    )
    Path("other.yaml").write_text(text.replace("sweep: study", "sweep: other"))
    for case in read_sweep("other.yaml").cases:
        write_run(case, 1.0 + case.index / 10)
    assert main(["sweep", "rank", "other.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "dev_bits_per_byte is not of the same held-out text" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "dev_bits_per_bite"], "did you mean 'dev_bits_per_byte'?"),
        (
            ["--metric", "lmeff_blimp"],
            "s.yaml: no case has lmeff_blimp yet (hidden_size-32_slow, seed 0: no lmeff_blimp at 20k)",
        ),
        (["--write", "s.yaml"], "--write s.yaml: is there already; remove it, or name another file"),
    ],
)
def test_what_cannot_be_ranked_is_one_line(
    study: Sweep, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["sweep", "rank", "s.yaml", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.medium
def test_the_table_and_the_finalists(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    for case in cases_of(study, "hidden_size-64_slow"):
        write_run(case, [1.50, 1.52, 1.52][case.seed])
    Path("later").mkdir()
    assert main(["sweep", "rank", "s.yaml", "--metric", "dev_perplexity", "--write", "later/finals.yaml"]) == 0
    out = capsys.readouterr().out
    assert "study: dev_perplexity at 20k tokens, lower is better" in out
    assert "no winner: hidden_size-64_fast, hidden_size-64_slow do not differ for certain" in out
    finals = read_sweep("later/finals.yaml")
    assert finals.name == "study_finalists"
    assert sorted({case.name for case in finals.cases}) == ["hidden_size-64_fast", "hidden_size-64_slow"]
    assert finals.seeds == [0, 1, 2]
    fast = next(case.recipe for case in finals.cases if case.name == "hidden_size-64_fast")
    assert (fast.model.shape()["hidden_size"], fast.optimizer.learning_rate, fast.schedule.name) == (64, 3e-3, "linear")
    assert main(["sweep", "rank", "s.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["winner"] is None


@pytest.mark.medium
def test_finalists_are_what_was_ranked(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    Path("there/blimp").mkdir(parents=True)
    text = SWEEP.replace("slow: {", "slow: {evaluation.paths.blimp: there/blimp, curriculum.faults: [], ")
    Path("s.yaml").write_text(text.replace("base.yaml", "base"))
    words = ["batch.tokens=1024", "anchors.tokens=[0,20k]", "checkpoints.every_steps=null", "paths.outputs=elsewhere"]
    words += ["publish.repository=x-{corpus}"]
    sweep = read_sweep("s.yaml", words)
    for case in sweep.cases:
        write_run(case, 2.0 + case.seed / 100 + case.index / 1e5)
    assert main(["sweep", "rank", "s.yaml", *words, "--write", "later/finals.yaml", "--top", "4"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("; lmeff sweep list later/finals.yaml paths.outputs=elsewhere")
    finals = {
        (case.name, case.seed): case for case in read_sweep("later/finals.yaml", ["paths.outputs=elsewhere"]).cases
    }
    assert len(finals) == len(sweep.cases) == 12
    for ranked in sweep.cases:
        final = finals[ranked.name, ranked.seed]
        assert final.run.path == Path("elsewhere/study_finalists", ranked.name, f"seed-{ranked.seed}")
        ours, theirs = ({**case.resolved.values, "paths": None} for case in (final, ranked))
        if ranked.values["rate"] == "slow":
            assert os.path.samefile(final.recipe.evaluation.paths["blimp"], "there/blimp")
            ours["evaluation"] = theirs["evaluation"]
        assert ours == theirs
