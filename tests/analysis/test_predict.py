"""`lmeff predict`: the published table to its digits, unfinished runs beside finished ones, what it prints and refuses."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from analysis.synthetic_curves import COLUMNS, MILLION, synthetic_table, write_csv

from lmeff.analysis.prediction.agreement import agreement_rows
from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.predictors.forecasts import PREDICTORS
from lmeff.analysis.prediction.protocols import Trial, error_rows, make_splits
from lmeff.analysis.prediction.text import predict_text
from lmeff.analysis.scores.from_observations import make_curve_table, with_chosen_target
from lmeff.analysis.scores.paths import read_observations
from lmeff.cli import main

SPEARMAN = (0.4465, 0.6524, 0.7315, 0.7433, 0.8633, 0.9303, 0.9751, 0.9409, 0.9485, 0.9636, 0.9621, 0.9658)
R2 = (0.1672, 0.5022, 0.6899, 0.7140, 0.8350, 0.8818, 0.9528, 0.9255, 0.9468, 0.9529, 0.9538, 0.9554)
MEAN_GAIN = {100: 0.0245, 250: 0.0185, 500: 0.0164, 1000: 0.0130}


def find(rows: list[dict], **wanted: object) -> dict:
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


@pytest.fixture(scope="module")
def published(shared_data):
    return read_observations([shared_data / "learning_curves" / "blimp_overall.csv"])[0]


@pytest.fixture(scope="module")
def final_table(published):
    return with_chosen_target(make_curve_table(published)[0], "final")


@pytest.mark.medium
def test_the_published_pooled_table_to_four_digits(final_table):
    assert final_table.cutoffs == list(range(12))
    for column, values in enumerate(zip(SPEARMAN, R2, strict=True)):
        rows = agreement_rows(final_table, column)
        for statistic, value in zip(("spearman", "r2"), values, strict=True):
            assert round(find(rows, scope="pooled", statistic=statistic)["value"], 4) == value, (column, statistic)


@pytest.mark.medium
def test_mean_gain_and_the_stack_on_the_published_table(final_table):
    splits = make_splits(final_table)
    for millions, value in MEAN_GAIN.items():
        column = final_table.anchors.tolist().index(millions * MILLION)
        rows = error_rows(Trial(final_table, column, splits))
        assert round(find(rows, protocol="P1", predictor="mean_gain")["mae"], 4) == value
        for protocol in ("P1", "P2"):
            stack = find(rows, protocol=protocol, predictor="stack")
            assert 0.72 <= stack["coverage80"] <= 0.90
            assert stack["coverage95"] >= 0.89
        assert find(rows, protocol="P1", predictor="stack")["skill"] >= (0.10 if millions == 1000 else -0.05)
        gain = find(rows, protocol="P3", predictor="mean_gain")
        assert find(rows, protocol="P3", predictor="stack")["mae"] <= 1.05 * gain["mae"]


@pytest.mark.medium
def test_a_cell_that_was_cut_is_predicted_and_compared(published):
    cell, ends = "babylm3 60m 16000", {one.run: one.value for one in published if one.tokens == 2000 * MILLION}
    known = [one for one in published if one.tokens and (one.cell != cell or one.tokens <= 500 * MILLION)]
    fewer = [one for one in known if one.tokens in (100 * MILLION, 500 * MILLION, 2000 * MILLION)]
    document = predict(fewer)
    runs = {f"{cell}, seed {seed}" for seed in (0, 1, 2)}
    assert {row["run"] for row in document["predictions"]} == runs
    stack = [row for row in document["predictions"] if row["predictor"] == "stack"]
    assert len(stack) == 3
    for row in stack:
        assert row["cutoff_tokens"] == 500 * MILLION
        assert row["calibrated"]
        assert row["low95"] < row["low80"] < row["value"] < row["high80"] < row["high95"]
        assert row["low95"] < ends[row["run"]] < row["high95"]
    assert {row["predictor"] for row in document["predictions"]} == set(PREDICTORS)
    decisions = document["decisions"]
    assert len(decisions) == 5
    assert all(cell in (row["a"], row["b"]) and "babylm3" in row["a"] and "babylm3" in row["b"] for row in decisions)
    assert {row["probability"] for row in decisions} == {None}
    assert not any(row["decided"] for row in decisions)
    assert "not calibrated: fewer than 20 finished recipes" in document["notes"]
    assert "% sure" not in predict_text(document)
    assert "[" in predict_text(document)


@pytest.mark.medium
def test_a_corpus_without_a_finished_cell_has_no_calibrated_interval(published):
    known = [
        one
        for one in published
        if one.tokens in (100 * MILLION, 500 * MILLION, 2000 * MILLION)
        and (one.corpus != "tinystories" or one.tokens <= 500 * MILLION)
    ]
    document = predict(known)
    rows = [row for row in document["predictions"] if row["predictor"] == "stack"]
    assert len(rows) == 18
    assert not any(row["calibrated"] for row in rows)
    assert not any(row["decided"] for row in document["decisions"])
    text = predict_text(document)
    assert text.count("no calibrated interval") == 18
    assert "0 of 15 comparisons" in text


def test_four_finished_corpora_are_enough_for_another_one(tmp_path):
    """And three are not."""
    for corpora, calibrated in ((5, True), (4, False)):
        table = synthetic_table(0, num_corpora=corpora, num_cells=2, num_seeds=1)
        last = table.num_cells - 1
        path = write_csv(tmp_path / f"{corpora}.csv", table, unfinished={last: 3, last - 1: 3})
        document = predict(read_observations([path], COLUMNS)[0])
        assert {row["calibrated"] for row in document["predictions"]} == {calibrated}


def test_a_size_above_all_finished_ones_is_not_calibrated_early(tmp_path):
    table = synthetic_table(0, num_corpora=2, num_cells=6, num_seeds=1)
    table = replace(table, size_of_cell=table.size_of_cell.copy(), anchors=table.anchors.copy())
    table.size_of_cell[11] = 100.0
    table.anchors[0] = MILLION // 2
    for num_anchors, calibrated in ((1, False), (3, True)):
        path = write_csv(tmp_path / f"{num_anchors}.csv", replace(table, anchors=2 * table.anchors), {11: num_anchors})
        document = predict(read_observations([path], COLUMNS)[0])
        assert {row["calibrated"] for row in document["predictions"]} == {calibrated}


KEYS = {
    "agreement": {"cutoff_tokens", "scope", "statistic", "value", "low", "high", "n"},
    "errors": {"protocol", "cutoff_tokens", "predictor", "mae", "low", "high", "bias", "coverage80", "coverage95", "skill",
               "n"},
    "predictions": {"run", "cutoff_tokens", "predictor", "value", "low80", "high80", "low95", "high95", "calibrated"},
    "decisions": {"a", "b", "cutoff_tokens", "probability", "decided"},
    "ceilings": {"scope", "value", "n"},
    "rules": {"rule", "scope", "value", "n"},
    "regret": {"cutoff_tokens", "group", "predictor", "value"},
    "saved": {"cutoff_tokens", "flops_share"},
}  # fmt: skip


@pytest.fixture
def csv_file(tmp_path):
    table = synthetic_table(0, num_corpora=3, num_cells=4, num_seeds=2)
    return write_csv(tmp_path / "scores.csv", table, unfinished={1: 3, 6: 2})


@pytest.mark.medium
def test_the_verb_prints_tables_and_json(csv_file, capsys):
    assert main(["predict", str(csv_file), "--columns", COLUMNS]) == 0
    text = capsys.readouterr().out
    assert "score (acc): 20 runs of 10 recipes on 3 corpora have reached 8M tokens" in text
    assert re.search(
        r"Stopping at \dM of 8M tokens \(\d\d% saved\) would have ranked \d+% \[\d+, \d+\] of the pairs", text
    )
    for title in ("P1: all other recipes finished", "P2: ", "P3: ", "ceiling: ", "Runs that have not reached 8M"):
        assert title in text
    assert "note: scores.csv: scores are shares of 1" in text
    assert "seeds alone leave" in text
    assert main(["predict", str(csv_file), "--json", "--columns", COLUMNS, "--target", "8M"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == 1
    assert document["target"]["tokens"] == 8 * MILLION
    for name, keys in KEYS.items():
        assert document[name], name
        assert all(keys <= set(row) for row in document[name]), name
    assert {row["predictor"] for row in document["errors"]} == set(PREDICTORS)
    assert {row["protocol"] for row in document["errors"]} == {"P1", "P2", "P3"}
    assert {row["scope"] for row in document["agreement"]} == {
        "pooled", "within", "partial", "sizes", "vocabularies", "seeds", "seed_means"
    }  # fmt: skip
    assert {row["run"].partition(",")[0] for row in document["predictions"]} == {
        row["run"].partition(",")[0] for row in document["predictions"] if row["cutoff_tokens"] < 8 * MILLION
    }
    assert isinstance(document["sentence"], str)


@pytest.mark.medium
def test_runs_of_ours_finished_and_not(fake_run, capsys):
    for name, quality in (("a", 0.0), ("b", 0.2), ("c", 0.4), ("d", 0.6)):
        fake_run(name=name, anchors=(0, 25, 50, 100), num_pairs=5, quality=quality)
    last = fake_run(name="e", anchors=(0, 25, 50), num_pairs=5, state="running", final=False, planned=100)
    assert main(["predict", str(last.parents[1]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["task"], document["target"]["tokens"]) == ("lmeff_blimp", 100 * MILLION)
    assert {row["run"] for row in document["predictions"]} == {"e, seed 0"}
    assert {row["cutoff_tokens"] for row in document["predictions"]} == {50 * MILLION}
    assert all({"e"} & {row["a"], row["b"]} for row in document["decisions"])
    saved = find(document["saved"], cutoff_tokens=50 * MILLION)
    assert saved["flops_share"] == pytest.approx(1 - 382 / 763)  # steps, which cost the same
    assert any("4 finished recipes: below 8 no interval is given" in note for note in document["notes"])
    assert all(row["low"] is None for row in document["agreement"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv"], "none.csv: no such file or folder"),
        (["scores.csv"], "which column has tokens?"),
        (["scores.csv", "--columns", "tokens=tokens"], "no column 'tokens' for tokens"),
        (["scores.csv", "--columns", COLUMNS, "--target", "9M"], "no run has this anchor; there are 1M, 2M, 4M, 8M"),
        (["scores.csv", "--columns", COLUMNS, "--target", "final"], "no run has a score called final"),
        (["scores.csv", "--columns", COLUMNS, "--task", "glue"], "--task glue: no scores of it; there are score"),
        (["few.csv", "--columns", "tokens=tokens"], "too few runs: 2 recipes have reached"),
        ([], "the following arguments are required: PATH"),
    ],
)
def test_mistakes_are_one_line(csv_file, capsys, monkeypatch, words, said):
    monkeypatch.chdir(csv_file.parent)
    (csv_file.parent / "few.csv").write_text("corpus,tokens,acc\na,1,.5\na,2,.6\nb,1,.5\nb,2,.6\n")
    try:
        code = main(["predict", *words])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.medium
def test_predicting_from_a_file_needs_neither_pandas_nor_torch(csv_file):
    code = (
        "import sys\n"
        "for name in ('pandas', 'altair', 'torch'): sys.modules[name] = None\n"
        "from lmeff.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "predict", str(csv_file), "--columns", COLUMNS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Stopping at" in done.stdout
