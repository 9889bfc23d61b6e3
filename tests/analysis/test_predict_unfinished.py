"""Unfinished runs of `lmeff predict`: when a comparison is decided, and what is not told from too little."""

import json

import numpy as np
import pytest
from analysis.synthetic_curves import COLUMNS, synthetic_table, write_csv
from scipy import stats

from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.orders import probabilities
from lmeff.analysis.prediction.predictors.forecasts import Cutoff, fit_all
from lmeff.analysis.prediction.protocols import Trial, error_rows, make_splits
from lmeff.analysis.prediction.text import predict_text
from lmeff.analysis.prediction.unfinished import decision_rows, is_calibrated, prediction_rows, share_that_holds
from lmeff.analysis.scores.from_observations import make_curve_table, with_chosen_target
from lmeff.analysis.scores.observation import Observation
from lmeff.analysis.scores.paths import read_observations
from lmeff.cli.main import main


def observed(curves: dict[str, dict[int, float]]) -> list[Observation]:
    """By `CORPUS SIZE` the scores by tokens."""
    return [
        Observation(cell=cell, seed="0", tokens=tokens, task="t", metric="acc", value=value, corpus=cell.split()[0])
        for cell, curve in curves.items()
        for tokens, value in curve.items()
    ]


def rising(end: float, *anchors: int) -> dict[int, float]:
    return {tokens: end - 0.1 / tokens for tokens in anchors}


FINISHED = {f"a {size}": rising(0.5 + size / 50, 1, 2, 4, 8) for size in range(1, 5)}


def test_two_unfinished_recipes_that_share_no_anchor_are_not_compared():
    """One has no score where the other one is."""
    curves = {**FINISHED, "a 5": rising(0.6, 1, 2), "a 6": {1: 0.5, 4: 0.6}}
    document = predict(observed(curves))
    compared = {(row["a"], row["b"]) for row in document["decisions"]}
    assert ("a 5", "a 6") not in compared
    assert len(compared) == 8
    json.dumps(document, allow_nan=False)


@pytest.mark.medium
def test_no_probability_below_twenty_finished_recipes(tmp_path):
    for cells, known in ((10, False), (11, True)):
        table = synthetic_table(0, num_corpora=2, num_cells=cells, num_seeds=1)
        path = write_csv(tmp_path / f"{cells}.csv", table, unfinished={1: 3})
        document = predict(read_observations([path], COLUMNS)[0])
        assert {row["probability"] is not None for row in document["decisions"]} == {known}
        assert ("not calibrated: fewer than 20 finished recipes" in document["notes"]) != known
        assert ("95% sure" in predict_text(document)) == known
        if not known:
            assert not any(row["decided"] for row in document["decisions"])


def test_the_probability_is_that_of_the_interval():
    """Of one run against a bound it is the t distribution that the run's own interval comes from."""
    table = synthetic_table(0, num_corpora=3, num_cells=8, num_seeds=1)
    fitted = fit_all(Cutoff(table, 1), (table.cell != 5).astype(float)[None])
    forecast, run = fitted.forecasts["pooling_ranks"], 5
    weights = np.eye(table.num_runs)[[run]]
    high = forecast.mean[0, run] + forecast.sd[0, run] * stats.t(forecast.freedom[0, run]).ppf(0.975)
    assert probabilities(fitted, 0, weights, -high)[0] == pytest.approx(0.025)


def test_cells_without_a_score_at_the_cutoff_calibrate_nothing():
    curves = {**{name: {8: curve[8]} for name, curve in FINISHED.items()}, **{
        f"b {size}": rising(0.5 + size / 50, 1, 2, 4, 8) for size in range(1, 5)
    }, "a 5": rising(0.6, 1, 2), "b 5": rising(0.6, 1, 2)}  # fmt: skip
    table = with_chosen_target(make_curve_table(observed(curves))[0], "last")
    runs = {name: table.run_names.index(f"{name}, seed 0") for name in ("a 5", "b 5")}
    column = table.anchors.tolist().index(2)
    assert not is_calibrated(table, runs["a 5"], column)
    assert is_calibrated(table, runs["b 5"], column)
    assert decision_rows(table, prediction_rows(table))


def test_what_nothing_is_known_of_is_no_result_and_skill_is_over_the_same_runs():
    """Held out, corpus a leaves no score at 2 to learn from; the gain of a corpus has no say on a lone cell."""
    ends = {name: curve | {8: curve[8] + index % 2 / 50} for index, (name, curve) in enumerate(FINISHED.items())}
    curves = {**ends, "b 1": {1: 0.3, 8: 0.9}}
    table = with_chosen_target(make_curve_table(observed(curves))[0], "last")
    splits = make_splits(table)
    assert not [row for row in error_rows(Trial(table, 1, splits)) if row["protocol"] == "P3"]
    rows = {row["predictor"]: row for row in error_rows(Trial(table, 0, splits)) if row["protocol"] == "P1"}
    assert rows["same_corpus_gain"]["n"] == 4
    assert rows["stack"]["n"] == 5
    assert rows["stack"]["skill"] > 1 - rows["stack"]["mae"] / rows["same_corpus_gain"]["mae"]


def test_a_run_that_skipped_the_target_lacks_a_score_and_is_not_predicted():
    curves = {**FINISHED, "a 5": rising(0.6, 1, 2, 16), "a 6": rising(0.6, 1, 2)}
    document = predict(observed(curves), "8")
    assert {row["run"] for row in document["predictions"]} == {"a 6, seed 0"}
    assert {"run": "a 5, seed 0", "tokens": 8} in document["missing"]
    assert {"run": "a 6, seed 0", "tokens": 8} not in document["missing"]


def test_a_run_without_a_shared_anchor_is_too_early():
    curves = {name: {at: value for at, value in curve.items() if at > 1} for name, curve in FINISHED.items()}
    document = predict(observed({**curves, "a 5": rising(0.6, 1)}))
    assert not document["predictions"]
    assert "too early to predict: a 5, seed 0" in document["notes"]


@pytest.mark.medium
def test_a_run_beyond_the_ends_of_finished_ones_is_predicted_from_before_and_a_note_says_so(fake_run, capsys):
    """The last score of a finished run is its end, and no early score that another one's can be compared with."""
    runs = [("a", 0.0, (25, 50, 100)), ("b", 0.2, (25, 50, 100)), ("c", 0.4, (25, 50, 100)), ("d", 0.6, (25, 50))]
    unfinished = [("same", (25, 50, 100)), ("longer", (25, 50, 100, 200)), ("on_its_way", (25, 50)), ("late", (100,))]
    for name, quality, anchors in runs:
        fake_run(name=name, anchors=(0, *anchors), num_pairs=5, quality=quality)
    for name, anchors in unfinished:
        last = fake_run(name=name, anchors=(0, *anchors), num_pairs=5, planned=400, state="running")
    assert main(["predict", str(last.parents[1]), "--target", "final"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(number for number, line in enumerate(lines) if line.split()[:3] == ["run", "predicted", "from"])
    rows = [line.split() for line in lines[header + 1 : header + 4]]
    assert {(row[0].strip(","), row[3]) for row in rows} == {(name, "50M") for name in ("same", "longer", "on_its_way")}
    (said,) = (line for line in lines if "not predicted from their last score" in line)
    assert said.endswith(": longer, seed 0 (at 200M, from 50M); same, seed 0 (at 100M, from 50M)")
    (alone,) = (line for line in lines if "not predicted, without a score" in line)
    assert alone.endswith(": late, seed 0 (at 100M)")
    assert not any("too early" in line for line in lines)


def test_how_many_reached_the_default_target_is_said():
    document = predict(observed({**FINISHED, "a 5": rising(0.6, 1, 2)}))
    note = "the target 8 is the last anchor that at least a quarter of the recipes have: 4 of 5 have reached it"
    assert note in document["notes"]
    assert not any("a quarter" in line for line in predict(observed(FINISHED), "8")["notes"])


def test_the_share_that_holds_is_that_of_a_literal_loop():
    """Every finished recipe left out by itself, its run against each other one of its corpus by the t distribution."""
    table = synthetic_table(2, num_corpora=3, num_cells=4, num_seeds=1)
    for column in (0, 2):
        said, right = [], []
        for cell in range(table.num_cells):
            forecast = fit_all(Cutoff(table, column), (table.cell != cell).astype(float)[None]).forecasts[
                "pooling_ranks"
            ]
            for other in range(table.num_cells):
                if other == cell or table.corpus_of_cell[other] != table.corpus_of_cell[cell]:
                    continue
                ahead = (forecast.mean[0, cell] - table.target[other]) / forecast.sd[0, cell]
                told = stats.t(forecast.freedom[0, cell]).cdf(ahead)
                said.append(max(told, 1 - told) - 0.5)
                right.append(0.5 if (told > 0.5) == (table.target[cell] > table.target[other]) else -0.5)
        assert share_that_holds(table, column) == pytest.approx(min(max(sum(right) / sum(said), 0), 1), abs=1e-6)
    alone = synthetic_table(2, num_corpora=5, num_cells=1, num_seeds=1)
    assert share_that_holds(alone, 0) is None


def test_what_is_decided_has_intervals_that_lie_apart():
    """The best of its corpus by far is decided against the worst; where the stack's interval is wide, nothing is."""
    table = synthetic_table(3, num_corpora=3, num_cells=8, num_seeds=1, noise=0.2)
    table = table.with_target("8M", np.where(table.cell == 5, np.nan, table.target), 8 * 10**6)
    table.scores[5, -1] = np.nan
    predictions = prediction_rows(table)
    decisions = decision_rows(table, predictions)
    (stack,) = [row for row in predictions if row["predictor"] == "stack"]
    assert any(row["decided"] for row in decisions)
    for row in decisions:
        other = row["b"] if row["a"] == "cell 5" else row["a"]
        end = table.target[table.cell_names.index(other)]
        assert not row["decided"] or not stack["low95"] <= end <= stack["high95"]
    stack |= {"low95": 0.0, "high95": 1.0}
    assert not any(row["decided"] for row in decision_rows(table, predictions))
