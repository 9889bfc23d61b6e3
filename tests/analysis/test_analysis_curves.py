"""Uncertainty: the bootstrap against a brute-force one and against formulas, and what pairing buys."""

import time

import numpy as np
import pandas as pd
import pytest

from lmeff.analysis import change, read_runs
from lmeff.analysis.statistics.changes import bootstrap_means, paired_differences
from lmeff.analysis.statistics.pair_scores import summarize_pairs
from lmeff.errors import InputError


def brute_force(differences: pd.DataFrame, num_resamples: int, seed: int) -> np.ndarray:
    """The bootstrap of the textbook: draw pairs with replacement within every paradigm, take the mean of the means."""
    generator = np.random.default_rng(seed)
    means = []
    for _, each in differences.groupby("task"):
        values = each["difference"].to_numpy()
        means.append(values[generator.integers(0, len(values), (num_resamples, len(values)))].mean(axis=1))
    return np.mean(means, axis=0)


@pytest.mark.medium
@pytest.mark.parametrize("task", ["lmeff_blimp", "lmeff_blimp_binding", "lmeff_blimp_wh_island"])
def test_the_interval_is_that_of_a_brute_force_bootstrap_over_pairs(finished_run, task):
    run = read_runs([finished_run])[0]
    found = change(run, task, num_resamples=20_000)
    differences = paired_differences(run, task, run.anchors[0], run.anchors[-1])
    means = 100 * brute_force(differences, 4_000, seed=1)
    low, high = np.percentile(means, [2.5, 97.5])
    width = high - low
    assert found.low == pytest.approx(low, abs=0.06 * width)
    assert found.high == pytest.approx(high, abs=0.06 * width)


def test_the_change_is_the_difference_of_the_two_accuracies(finished_run):
    run = read_runs([finished_run])[0]
    found = change(run, "lmeff_blimp")
    first, last = (run.anchors[i].results.tasks["lmeff_blimp"].metrics["acc"].value for i in (0, -1))
    assert found.points == pytest.approx(100 * (last - first))
    assert found.low < found.points < found.high
    assert (found.first, found.last) == ("seed-0-tokens-0", "seed-0-tokens-2000M")
    assert (found.num_pairs, found.num_paradigms, found.num_resamples) == (67 * 200, 67, 10_000)
    assert str(found) == (
        f"lmeff_blimp: +{found.points:.1f} points from 0 to 2B tokens (95% interval {found.low:.1f} to {found.high:.1f} "
        "over 13,400 pairs, paired bootstrap, one seed)"
    )


def test_the_interval_has_the_width_of_the_analytic_standard_error(finished_run):
    run = read_runs([finished_run])[0]
    differences = paired_differences(run, "lmeff_blimp", run.anchors[0], run.anchors[-1])
    strata = differences.groupby("task")["difference"].agg(["var", "size"])
    stderr = 100 * np.sqrt((strata["var"] / strata["size"]).sum()) / len(strata)
    found = change(run, "lmeff_blimp")
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * stderr, rel=0.04)


def test_pairing_narrows_the_interval_where_the_same_pairs_are_hard_at_both(finished_run):
    run = read_runs([finished_run])[0]
    before, after = run.anchor("1500M"), run.anchor("2000M")
    found = change(run, "lmeff_blimp", first="1500M", last="2000M")
    unpaired = np.hypot(*(summarize_pairs(run, anchor, "lmeff_blimp").stderr for anchor in (before, after)))
    assert found.high - found.low < 0.8 * 100 * 2 * 1.96 * unpaired


def test_covers_the_truth_about_as_often_as_it_says():
    truth, hits = np.array([0.1, 0.3, 0.6]), 0
    values = np.array([-1.0, 0.0, 1.0])
    generator = np.random.default_rng(0)
    for _ in range(300):
        counts = np.array([generator.multinomial(200, truth), generator.multinomial(200, truth[::-1])])
        low, high = np.percentile(bootstrap_means(counts, values, 1_000, generator), [2.5, 97.5])
        hits += low <= 0.0 <= high  # the two strata cancel
    assert 0.91 <= hits / 300 <= 0.985


@pytest.mark.medium
def test_it_is_reproducible_and_follows_its_seed(finished_run):
    run = read_runs([finished_run])[0]
    assert change(run, "lmeff_blimp", seed=1) == change(run, "lmeff_blimp", seed=1)
    assert change(run, "lmeff_blimp", seed=1).low != change(run, "lmeff_blimp", seed=2).low


def test_pairs_of_one_item_are_drawn_together_and_count_as_one_sample(fake_run):
    """EWoK asks an item in both directions: 100 pairs that are 50 items, and one pair whose double is not there."""
    folder = fake_run(num_pairs=101)
    for path in folder.glob("results/*/pairs/*.parquet"):
        pairs = pd.read_parquet(path)
        pairs["item"] = (pairs["pair"] // 2 * 2).astype("int32")
        pairs.to_parquet(path)
    run, task = read_runs([folder])[0], "lmeff_blimp_passive_1"
    differences = paired_differences(run, task, run.anchors[0], run.anchors[-1])
    assert differences["item"].nunique() == 51
    assert "over 51 items, paired bootstrap" in str(change(run, task))
    groups = [list(each) for _, each in differences.groupby("item")["difference"]]
    generator, means = np.random.default_rng(3), []
    for _ in range(4_000):
        drawn = [value for index in generator.integers(0, 51, 51) for value in groups[index]]
        means.append(100 * sum(drawn) / len(drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    found = change(run, task, num_resamples=20_000)
    assert found.low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.high == pytest.approx(high, abs=0.06 * (high - low))
    scores = [list(each) for _, each in run.anchors[0].pairs.query("task == @task").groupby("item")["score"]]
    mean = sum(map(sum, scores)) / 101
    squares = sum(sum(score - mean for score in item) ** 2 for item in scores)
    assert summarize_pairs(run, run.anchors[0], task).stderr == pytest.approx((51 / 50 * squares) ** 0.5 / 101)


def test_only_pairs_that_both_anchors_scored_count_and_paradigms_weigh_the_same(fake_run):
    folder = fake_run(num_pairs=50)
    path = folder / "results" / "seed-0-tokens-0" / "pairs" / "lmeff_blimp.parquet"
    pairs = pd.read_parquet(path)
    few = pairs["task"] == "lmeff_blimp_passive_1"
    pairs[~few | (pairs["pair"] < 10)].to_parquet(path)
    run = read_runs([folder])[0]
    found = change(run, "lmeff_blimp_argument_structure")
    assert found.num_pairs == 8 * 50 + 10
    differences = paired_differences(run, "lmeff_blimp_argument_structure", run.anchors[0], run.anchors[-1])
    assert found.points == pytest.approx(100 * differences.groupby("task")["difference"].mean().mean())


def test_67_000_pairs_take_at_most_three_seconds(fake_run):
    run = read_runs([fake_run(num_pairs=1000, anchors=(0, 100))])[0]
    started = time.process_time()
    found = change(run, "lmeff_blimp")
    assert time.process_time() - started < 3
    assert found.num_pairs == 67_000


def test_a_standard_error_from_pairs_is_the_pooled_one_of_lm_eval(finished_run):
    run = read_runs([finished_run])[0]
    for task in ("lmeff_blimp", "lmeff_blimp_binding", "lmeff_blimp_passive_1"):
        summary = summarize_pairs(run, run.anchors[3], task)
        assert summary.stderr == pytest.approx(run.anchors[3].results.tasks[task].metrics["acc"].stderr)
    summary = summarize_pairs(run, run.anchors[3], "lmeff_blimp")
    assert summary.tie_rate == (run.anchors[3].pairs["score"] == 0.5).mean()
    assert 0 < summary.tie_rate < 0.01


def test_what_cannot_be_compared_is_one_line(fake_run):
    run = read_runs([fake_run(num_pairs=2, scored=False)])[0]
    with pytest.raises(InputError, match="0 anchors with scores of the pairs of lmeff_blimp; a change needs two"):
        change(run, "lmeff_blimp")
    with pytest.raises(InputError, match="share no scored pair of lmeff_blimp"):
        change(run, "lmeff_blimp", first="0", last="25M")
