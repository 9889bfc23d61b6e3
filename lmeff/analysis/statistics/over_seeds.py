"""Means over seeds with two 95% intervals, for thousands of points of curves at once: Student's t, and the bootstrap.

Student's interval is the one to believe with few seeds: a bootstrap of three values can only give the lowest and the highest of
them, and covers far less than 95%.
"""

from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_SEEDS_LISTED = 7
"""Up to so many seeds every resample is listed with its probability; 7 have 1,716 different ones."""
_NUM_DRAWN = 4_000
_AT_ONCE = 4_000_000
"""So many means of resamples are held at a time."""
TAIL = 0.025


def mean_intervals(values: Floats) -> Floats:
    """(points, 5): mean, both ends of the t interval and both of the bootstrap's, of values (points, seeds) without NaN. With
    one seed nothing but the mean is known, the rest is NaN."""
    from scipy.special import stdtrit  # the quantiles of scipy.stats.t, which takes a second to import

    num_points, num_seeds = values.shape
    found = np.full((num_points, 5), np.nan)
    found[:, 0] = values.mean(1)
    if num_seeds < 2 or not num_points:
        return found
    half = float(stdtrit(num_seeds - 1, 1 - TAIL)) * values.std(1, ddof=1) / np.sqrt(num_seeds)
    found[:, 1], found[:, 2] = found[:, 0] - half, found[:, 0] + half
    weights, probabilities = resamples(num_seeds)
    step = max(1, _AT_ONCE // len(weights))
    for start in range(0, num_points, step):
        some = slice(start, start + step)
        found[some, 3:] = weighted_ends(values[some] @ weights.T, probabilities)
    # A mean of equal values is rounded otherwise in every resample.
    equal = np.ptp(values, axis=1) == 0
    found[equal] = values[equal, :1]
    return found


@cache
def resamples(num_seeds: int) -> tuple[Floats, Floats]:
    """(resamples, seeds) and (resamples,): the share that each seed has in a resample, and how probable it is. All that there
    are of few seeds, else always the same 4,000 (Efron 1979, "Bootstrap methods: another look at the jackknife")."""
    if num_seeds > _MOST_SEEDS_LISTED:
        drawn = np.random.default_rng(0).multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), _NUM_DRAWN)
        return drawn / num_seeds, np.full(_NUM_DRAWN, 1 / _NUM_DRAWN)
    chosen = list(combinations_with_replacement(range(num_seeds), num_seeds))
    counts = np.array([np.bincount(each, minlength=num_seeds) for each in chosen])
    orders = [factorial(num_seeds) / prod(map(factorial, of_seed)) for of_seed in counts.tolist()]
    return counts / num_seeds, np.array(orders) / num_seeds**num_seeds


def weighted_ends(values: Floats, probabilities: Floats) -> Floats:
    """(points, 2): the percentile interval of values (points, resamples). Each end is the outermost value beyond which less
    than 2.5% lies. Values may be infinite."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, 1)
    below = np.cumsum(probabilities[order], axis=1)
    rows = np.arange(len(values))
    low = (below < TAIL - 1e-12).sum(1)
    high = (below < 1 - TAIL - 1e-12).sum(1)
    return np.stack([ordered[rows, low], ordered[rows, np.minimum(high, values.shape[1] - 1)]], axis=1)
