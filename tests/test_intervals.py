"""95% intervals against those of SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from lmeff.intervals import mean_interval, metric_interval, share_interval


@pytest.mark.parametrize(("right", "num"), [(0, 50), (50, 50), (1, 3), (37, 50), (4199, 4200), (0, 1)])
def test_a_share_has_the_interval_of_wilson_also_where_all_or_none_are_right(right, num):
    scores = np.repeat([1.0, 0.0], [right, num - right])
    stderr = float(scores.std(ddof=1) / math.sqrt(num)) if num > 1 else 0.0
    expected = stats.binomtest(right, num).proportion_ci(method="wilson")
    assert share_interval(right / num, stderr, num) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_all_right_is_no_point():
    low, high = share_interval(1.0, 0.0, 1000)
    assert (round(low, 4), high) == (0.9962, 1.0)
    assert share_interval(0.0, 0.0, 1000) == pytest.approx((0.0, 1 - low))


def test_a_group_of_strata_has_about_the_width_of_its_standard_error():
    """67 paradigms of 1,000 pairs whose accuracies differ: their mean is surer than that of a simple sample."""
    shares = np.linspace(0.3, 0.99, 67)
    stderr = math.sqrt((shares * (1 - shares) / 999).sum()) / 67
    low, high = share_interval(shares.mean(), stderr, 67_000)
    assert high - low == pytest.approx(2 * 1.96 * stderr, rel=1e-3)
    simple = stats.binomtest(round(67_000 * shares.mean()), 67_000).proportion_ci(method="wilson")
    assert high - low < 0.95 * (simple.high - simple.low)


@pytest.mark.parametrize("stderr", [None, math.nan])
def test_without_a_standard_error_there_is_no_interval(stderr):
    assert share_interval(0.5, stderr, 100) is None
    assert metric_interval("perplexity", 5.0, stderr, 100) is None
    assert metric_interval("bits_per_byte", 1.5, 0.1, 100) == pytest.approx((1.304, 1.696), abs=1e-3)


@pytest.mark.parametrize("values", [[3.6, 4.0], [50.4, 50.9, 51.5], [0.1] * 4])
def test_a_mean_over_seeds_has_the_t_interval(values):
    mean, low, high = mean_interval(values)
    expected = (
        stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        if len(set(values)) > 1
        else (0.1, 0.1)
    )
    assert (mean, low, high) == pytest.approx((np.mean(values), *expected))
