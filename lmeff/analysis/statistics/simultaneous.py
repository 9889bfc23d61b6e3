"""Which of several cases is the best, over seeds: all pairs of cases compared at once, at 5% for all of them together.

Tukey's honestly significant differences (Tukey 1953; for unequal numbers of seeds Kramer 1956): the variance between
seeds is pooled over all cases, and a difference counts when it is above the 95% quantile of the largest one among so
many cases without an effect. Where seeds share their data over cases, so that some seeds are easier for all, the seed
is a factor beside the case (a two-way layout). The interval that is shown is the one of this test: a case differs from
the best exactly where its interval leaves out zero.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np

LEVEL = 0.05
"""Chance that any of the cases, if they are all alike, would be called different from another."""

Values = Mapping[str, Mapping[int, float]]
"""By case and seed."""


@dataclass(frozen=True)
class RankedCase:
    name: str
    mean: float
    """Over seeds. Where seeds are paired and some case lacks one, what the mean over all seeds would be."""
    num_seeds: int
    behind: float
    """How much worse than the best, 0 for the best."""
    low: float | None
    high: float | None
    """The simultaneous 95% interval of that; None for the best, and where seeds say nothing of how far others would lie off."""

    @property
    def differs(self) -> bool:
        """Whether it is certainly worse than the best."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Ranking:
    rows: list[RankedCase]
    """The best first."""
    winner: str | None
    """The best where it differs from every other case; else None. A case of one seed never wins."""
    seed_sd: float | None
    """Standard deviation between seeds, pooled over the cases; None where no case has two seeds."""
    degrees_of_freedom: int
    is_paired: bool
    """Whether differences are within seeds."""


def rank_cases(values: Values, paired: bool, lower_is_better: bool = True) -> Ranking:
    """Orders cases by their means over seeds, and says which differ from the best. Ties keep their order.

    `paired`: equal seeds of different cases share their data. Raises ValueError for a value that is no finite number, and for a
    case without any.
    """
    _check(values)
    names, sign = list(values), 1.0 if lower_is_better else -1.0
    fit = _fit_of(values, paired)
    costs = sign * _with_ties(fit.means)
    order = sorted(range(len(names)), key=lambda index: (costs[index], index))
    best, rows = order[0], []
    for index in order:
        behind = float(costs[index] - costs[best])
        half = fit.half_width(best, index) if index != best else None
        ends = (None, None) if half is None else (behind - half, behind + half)
        rows.append(RankedCase(names[index], float(fit.means[index]), len(values[names[index]]), behind, *ends))
    wins = len(rows) > 1 and rows[0].num_seeds > 1 and all(row.differs for row in rows[1:])
    return Ranking(rows, rows[0].name if wins else None, fit.seed_sd, fit.degrees_of_freedom, fit.is_paired)


def differences_from(values: Values, base: str, paired: bool) -> dict[str, tuple[float, float | None, float | None]]:
    """The mean over seeds of every other case minus that of `base`, and its simultaneous 95% interval; None where seeds say
    nothing of how far others would lie off. `paired` and what is raised are as of `rank_cases`."""
    _check(values)
    names, fit = list(values), _fit_of(values, paired)
    origin, found = names.index(base), dict[str, tuple[float, float | None, float | None]]()
    for index, name in enumerate(names):
        if name != base:
            difference, half = float(fit.means[index] - fit.means[origin]), fit.half_width(origin, index)
            ends = (None, None) if half is None else (difference - half, difference + half)
            found[name] = (difference, *ends)
    return found


def by_level(values: Values, levels: Mapping[str, Hashable]) -> dict[Hashable, dict[int, float]]:
    """What each level of an axis comes to: for every seed the mean over the cases of that level, where all of them have the
    seed. `levels` are those of the cases; in a full grid their means differ by the axis alone."""
    of_level: dict[Hashable, list[Mapping[int, float]]] = {}
    for name, of_case in values.items():
        of_level.setdefault(levels[name], []).append(of_case)
    return {
        level: {
            seed: sum(one[seed] for one in cases) / len(cases) for seed in sorted(set.intersection(*map(set, cases)))
        }
        for level, cases in of_level.items()
    }


def _check(values: Values) -> None:
    for name, of_case in values.items():
        if not of_case:
            raise ValueError(f"{name} has no value")
        if wrong := [seed for seed, value in of_case.items() if not math.isfinite(value)]:
            raise ValueError(f"{name}, seed {wrong[0]}: {of_case[wrong[0]]} is no finite number")


@dataclass(frozen=True)
class _Fit:
    """Least squares of case effects, and seed effects where paired."""

    means: np.ndarray
    covariance: np.ndarray
    """Of `means`, for a variance of 1 between seeds."""
    seed_sd: float | None
    degrees_of_freedom: int
    is_paired: bool

    def half_width(self, first: int, second: int) -> float | None:
        """Of the interval of the difference between two cases."""
        if not self.seed_sd:
            return None
        matrix = self.covariance
        variance = matrix[first, first] + matrix[second, second] - 2 * matrix[first, second]
        critical = _critical_range(len(self.means), self.degrees_of_freedom)
        return float(critical / math.sqrt(2) * self.seed_sd * math.sqrt(variance))


def _fit_of(values: Values, paired: bool) -> _Fit:
    return _fit(values, paired and len(set(chain.from_iterable(values.values()))) > 1)


def _fit(values: Values, paired: bool) -> _Fit:
    seeds = sorted(set(chain.from_iterable(values.values())))
    places = [(row, seeds.index(seed)) for row, of_case in enumerate(values.values()) for seed in of_case]
    measured = np.array([value for of_case in values.values() for value in of_case.values()], float)
    num_cases = len(values)
    design = np.zeros((len(places), num_cases + (len(seeds) if paired else 0)))
    for row, (case, seed) in enumerate(places):
        design[row, case] = 1
        if paired:
            design[row, num_cases + seed] = 1
    rank = int(np.linalg.matrix_rank(design))
    if paired and rank < num_cases + len(seeds) - 1:
        return _fit(values, paired=False)  # some cases share no seeds with others, not even through third ones
    inverse = np.linalg.pinv(design.T @ design)
    effects = inverse @ design.T @ measured
    # A case's mean, with the mean of all seed effects.
    weights = (
        np.hstack([np.eye(num_cases), np.full((num_cases, len(seeds)), 1 / len(seeds))])
        if paired
        else np.eye(num_cases)
    )
    freedom = len(places) - rank
    residuals = measured - design @ effects
    spread = math.sqrt(float(residuals @ residuals) / freedom) if freedom else None
    # Where all seeds say the same, nothing says how far others would lie off.
    if spread is not None and spread <= _rounding(measured):
        spread = 0.0
    return _Fit(weights @ effects, weights @ inverse @ weights.T, spread, freedom, paired)


def _rounding(numbers: np.ndarray) -> float:
    """What floats may make of differences of such numbers that are none; how much it is differs from machine to machine."""
    return 1e-12 * max(1.0, float(np.abs(numbers).max()))


def _with_ties(means: np.ndarray) -> np.ndarray:
    """The means, those that differ by rounding alone made equal to the least of them."""
    order = np.argsort(means, kind="stable")
    rises = np.diff(means[order], prepend=-np.inf) > _rounding(means)
    tied = np.empty_like(means)
    tied[order] = means[order][rises][np.cumsum(rises) - 1]
    return tied


@cache
def _critical_range(num_cases: int, degrees_of_freedom: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, num_cases, degrees_of_freedom))
