"""Differences over training runs that differ in their seed: of models of other runs."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np

from lmeff.analysis.comparison.estimates import Estimate

MOST_ENUMERATED = 20_000
"""Of more permutations so many are drawn."""


def over_seeds(a: Sequence[float], b: Sequence[float], paired: bool) -> Estimate | None:
    """95% t interval and t test of the mean of `b` minus that of `a`, a value a seed; None with one seed on a side, and where
    all seeds say the same, as then nothing says how far others would lie off.

    Paired (Student 1908), the values of one seed stand at the same place; else Welch's (1947), which lets the sides vary
    unequally. The permutation test beside it assumes no distribution, and can give no small p with few seeds.
    """
    from scipy.special import stdtr, stdtrit

    if min(len(a), len(b)) < 2:
        return None
    first, second = np.asarray(a, float), np.asarray(b, float)
    difference = float((second - first).mean() if paired else second.mean() - first.mean())
    stderr, freedom = _paired_error(second - first) if paired else _welch_error(first, second)
    if stderr == 0:
        return None
    half = float(stdtrit(freedom, 0.975)) * stderr
    low, high, p = difference - half, difference + half, float(2 * stdtr(freedom, -abs(difference) / stderr))
    permuted, num_permutations = _permutation(first, second, paired)
    student = "paired t" if paired else "Welch's t"
    smallest = _smallest_p(len(a), len(b), paired, num_permutations)
    n = min(len(a), len(b))
    interval, test = f"{student} interval", f"{student} test"
    return Estimate(stderr, low, high, p, interval, test, n, freedom, p_permutation=permuted, p_smallest=smallest)


def over_both(difference: float, items: Estimate, seeds: Estimate) -> Estimate | None:
    """Over training runs and items: both variances together, which counts what a run and an item have to do with one another
    twice and is therefore rather too wide (Owen 2007, "The pigeonhole bootstrap"). Degrees of freedom are Satterthwaite's
    (1946), items being many. None where seeds have no degrees of freedom.
    """
    from scipy.special import stdtr, stdtrit

    if seeds.degrees_of_freedom is None:
        return None
    variance = items.stderr**2 + seeds.stderr**2
    stderr, freedom = math.sqrt(variance), seeds.degrees_of_freedom * (variance / seeds.stderr**2) ** 2
    half = float(stdtrit(freedom, 0.975)) * stderr
    p = float(2 * stdtr(freedom, -abs(difference) / stderr))
    interval, test = (f"t {name}, variances over seeds and items added (Owen 2007)" for name in ("interval", "test"))
    return Estimate(stderr, difference - half, difference + half, p, interval, test, seeds.n, freedom)


def _paired_error(differences: np.ndarray) -> tuple[float, float]:
    n = len(differences)
    spread = float(differences.std(ddof=1)) if np.ptp(differences) > 1e-12 else 0.0
    return spread / math.sqrt(n), n - 1


def _welch_error(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    shares = [float(side.var(ddof=1)) / len(side) if np.ptp(side) > 1e-12 else 0.0 for side in (a, b)]
    variance = sum(shares)
    if variance == 0:
        return 0.0, len(a) + len(b) - 2
    freedom = variance**2 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, (a, b), strict=True))
    return math.sqrt(variance), freedom


def _permutation(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, int | None]:
    """Two-sided p, and over how many permutations where they are not all."""
    observed = abs(float((b - a).mean() if paired else b.mean() - a.mean())) - 1e-12
    number = 2 ** len(a) if paired else math.comb(len(a) + len(b), len(a))
    if number <= MOST_ENUMERATED:
        values = _all_flips(b - a) if paired else _all_splits(a, b)
        return sum(abs(value) >= observed for value in values) / number, None
    generator = np.random.default_rng(0)
    if paired:
        signs = generator.choice([-1, 1], size=(MOST_ENUMERATED, len(a)))
        drawn = (signs * (b - a)).mean(axis=1)
    else:
        shuffled = generator.permuted(np.tile(np.concatenate([a, b]), (MOST_ENUMERATED, 1)), axis=1)
        drawn = shuffled[:, len(a) :].mean(axis=1) - shuffled[:, : len(a)].mean(axis=1)
    return float((1 + (np.abs(drawn) >= observed).sum()) / (1 + MOST_ENUMERATED)), MOST_ENUMERATED


def _all_flips(differences: np.ndarray) -> Iterator[float]:
    for signs in product((-1, 1), repeat=len(differences)):
        yield float((differences * signs).mean())


def _all_splits(a: np.ndarray, b: np.ndarray) -> Iterator[float]:
    together = np.concatenate([a, b])
    for chosen in combinations(range(len(together)), len(a)):
        is_first = np.isin(np.arange(len(together)), chosen)
        yield float(together[~is_first].mean() - together[is_first].mean())


def _smallest_p(num_a: int, num_b: int, paired: bool, num_drawn: int | None) -> float:
    if num_drawn is not None:
        return 1 / (1 + num_drawn)
    if paired:
        return 2 / 2**num_a
    return (2 if num_a == num_b else 1) / math.comb(num_a + num_b, num_a)
