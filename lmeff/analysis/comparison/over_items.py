"""Differences over the items of minimal pairs that both sides have scored: of these very models, on other items.

All scores are halves (a tie is one half), so that the difference of the means over `m` and `n` seeds is a whole number of
`1 / (2 m n)`: sums of them are exact.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmeff.analysis.comparison.estimates import Estimate
from lmeff.intervals import NORMAL_95

NUM_FLIPS = 9_999
"""Random sign flips behind the p value of a group of paradigms: it is at least 1/10,000."""
_LONG = 2_000
_EXACT = "exact sign-flip test, which is McNemar's for two models without ties"
_RANDOM = "sign-flip test with 9,999 random flips"
_INTERVAL = "adjusted Wald interval for paired data (Bonett & Price 2012)"
_OF_MEANS = f"{_INTERVAL}, wider than p says for means over seeds"
"""The two items that are added differ by 1, as items of one model can and those of means over seeds hardly do."""


@dataclass(frozen=True, eq=False)
class ParadigmDifferences:
    """B minus A on every item of one paradigm."""

    task: str
    a: np.ndarray
    """(seeds of A,) Accuracies; `b` alike."""
    b: np.ndarray
    sums: np.ndarray
    """(items,) int64: over the pairs of an item, in units of `unit`."""
    sizes: np.ndarray
    """(items,) int64: pairs of each item."""
    unit: float
    num_a_better: int
    num_b_better: int

    @property
    def num_pairs(self) -> int:
        return int(self.sizes.sum())

    @property
    def difference(self) -> float:
        return float(self.sums.sum() * self.unit / self.num_pairs)

    @cached_property
    def by_item(self) -> np.ndarray:
        """(items,) What each item says of the difference; their mean is `difference`. For items of unequally many pairs
        linearized, as the mean over pairs is a ratio of sums (Cochran 1977, section 6.3)."""
        share = len(self.sizes) / self.num_pairs
        return self.difference + share * (self.sums * self.unit - self.difference * self.sizes)


def differences_of(task: str, a: np.ndarray, b: np.ndarray, items: np.ndarray) -> ParadigmDifferences:
    """The differences of a paradigm.

    Args:
        a: (seeds of A, pairs) scores 0, 0.5 and 1; `b` alike, of the same pairs.
        items: (pairs,) of which item each pair was made.
    """
    doubled_a, doubled_b = (np.rint(2 * scores).astype(np.int64).sum(axis=0) for scores in (a, b))
    by_pair = len(a) * doubled_b - len(b) * doubled_a
    _, index, sizes = np.unique(items, return_inverse=True, return_counts=True)
    sums = np.zeros(len(sizes), np.int64)
    np.add.at(sums, index, by_pair)
    better = int((by_pair < 0).sum()), int((by_pair > 0).sum())
    unit = 0.5 / (len(a) * len(b))
    return ParadigmDifferences(task, a.mean(axis=1), b.mean(axis=1), sums, sizes, unit, *better)


def sign_flip_p(sums: np.ndarray) -> float:
    """Two-sided exact p value of a sum of whole numbers, were the sign of each a coin's.

    Of two models without ties, with a pair an item, this is McNemar's exact test; in general it is Fisher's (1935, "The
    design of experiments", section 21). The distribution is the convolution of one binomial for each size.
    """
    from scipy.special import gammaln

    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    divisor = int(np.gcd.reduce(sizes))
    distribution = np.ones(1)
    for size, count in zip((sizes // divisor).tolist(), counts.tolist(), strict=True):
        heads = np.arange(count + 1)
        logs = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1) - count * math.log(2)
        spaced = np.zeros(size * count + 1)
        spaced[::size] = np.exp(logs)
        distribution = _convolved(distribution, spaced)
    possible = 2 * np.arange(len(distribution)) - (len(distribution) - 1)
    observed = abs(int(sums.sum())) // divisor
    return min(1.0, float(distribution[np.abs(possible) >= observed].sum()))


def _convolved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where both are long by Fourier transforms, which take probabilities below 1e-15 for 0."""
    if min(len(one), len(other)) < _LONG:
        return np.convolve(one, other)
    length = len(one) + len(other) - 1
    size = 1 << (length - 1).bit_length()
    return np.maximum(np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size), size)[:length], 0.0)


def flipped_differences(paradigm: ParadigmDifferences, generator: np.random.Generator) -> np.ndarray:
    """(NUM_FLIPS,) The difference of a paradigm, were the sign of each item a coin's."""
    sizes, counts = np.unique(np.abs(paradigm.sums[paradigm.sums != 0]), return_counts=True)
    heads = generator.binomial(counts, 0.5, size=(NUM_FLIPS, len(counts)))
    return ((2 * heads - counts) @ sizes) * (paradigm.unit / paradigm.num_pairs)


def adjusted_interval(strata: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Standard error and 95% interval of the unweighted mean over strata of differences between -1 and 1.

    Of one stratum that of Bonett & Price 2012 ("Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data"), with the sample variance: one item of +1 and one of -1 are added, so that it is no point where
    all items are equal. Of several they are spread evenly over the strata, whose means vary independently (Cochran 1977,
    "Sampling techniques", section 5.3).
    """
    extra = 2 / len(strata)
    middle = variance = 0.0
    for values in strata:
        n = len(values) + extra
        mean = values.sum() / n
        middle += mean / len(strata)
        variance += ((values**2).sum() + extra - n * mean**2) / (n - 1) / n / len(strata) ** 2
    half = NORMAL_95 * math.sqrt(variance)
    return math.sqrt(variance), max(middle - half, -1.0), min(middle + half, 1.0)


def over_items(paradigms: Sequence[ParadigmDifferences], flipped: Mapping[str, np.ndarray]) -> Estimate:
    """How far the mean over paradigms could lie off, because other items might have been asked.

    Args:
        flipped: by task, `flipped_differences`; used for paradigms with unequally many pairs.
    """
    stderr, low, high = adjusted_interval([paradigm.by_item for paradigm in paradigms])
    interval = _OF_MEANS if any(max(len(one.a), len(one.b)) > 1 for one in paradigms) else _INTERVAL
    n = sum(len(paradigm.sums) for paradigm in paradigms)
    if len({paradigm.num_pairs for paradigm in paradigms}) == 1:  # then the mean over paradigms is that over pairs
        p = sign_flip_p(np.concatenate([paradigm.sums for paradigm in paradigms]))
        return Estimate(stderr, low, high, p, interval, _EXACT, n)
    observed = abs(sum(paradigm.difference for paradigm in paradigms))
    sums = np.abs(sum(flipped[paradigm.task] for paradigm in paradigms))
    p = (1 + int((sums >= observed - 1e-12).sum())) / (1 + NUM_FLIPS)
    return Estimate(stderr, low, high, p, interval, _RANDOM, n)
