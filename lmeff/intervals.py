"""95% intervals, each with what it is over: a share over examples (Wilson), a mean over seeds (Student's t).

An interval over examples says how far a number could lie off because other pairs, documents or questions might have been
asked. It knows nothing of how a model trained with another seed would do; only an interval over seeds does.
"""

import math
from collections.abc import Sequence

NORMAL_95 = 1.959964
"""Half the width of a 95% interval in standard errors."""
SHARES = ("acc", "acc_norm", "acc_sum", "exact_match", "completion_accuracy", "ties")
"""Metrics that are a share of examples."""
_OTHER_SHARES = ("em", "f1", "precision", "recall", "mc1", "mc2")


def wilson(share: float, num_examples: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, "Probable inference, the law of succession, and statistical inference").

    Unlike the one of 1.96 standard errors (Wald's) it stays between 0 and 1, and is no point where all or none are right.
    """
    scale = NORMAL_95**2 / num_examples
    middle = (share + scale / 2) / (1 + scale)
    half = NORMAL_95 / (1 + scale) * math.sqrt(share * (1 - share) / num_examples + scale / (4 * num_examples))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def share_interval(share: float, stderr: float | None, num_examples: int | None) -> tuple[float, float] | None:
    """The 95% interval over examples of a share from 0 to 1; None where nothing says how sure it is.

    Wilson's, with as many examples as a simple sample would need for this standard error (Kish's effective sample size): those
    that were asked for a task by itself, more for a group whose paradigms are equally large strata, fewer where examples belong
    together. Where all or none are right the standard error is 0 and says nothing: then it is over the examples themselves.
    """
    if stderr is None or not 0 <= share <= 1 or not math.isfinite(stderr):
        return None
    if stderr > 0 and 0 < share < 1:
        # A standard error from a sample's variance divides by one less than there are examples.
        corrected = num_examples / (num_examples - 1) if num_examples and num_examples > 1 else 1.0
        return wilson(share, corrected * share * (1 - share) / stderr**2)
    return wilson(share, num_examples) if num_examples else None


def metric_interval(
    metric: str, value: float, stderr: float | None, num_examples: int | None
) -> tuple[float, float] | None:
    """The 95% interval over examples: `share_interval` for a share, 1.96 standard errors to both sides for another metric."""
    if metric.partition(",")[0] in SHARES:
        return share_interval(value, stderr, num_examples)
    if stderr is None or not math.isfinite(stderr):
        return None
    return value - NORMAL_95 * stderr, value + NORMAL_95 * stderr


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of two or more values, such as one a seed, and its 95% t interval (Student 1908): mean, low, high."""
    from scipy.special import stdtrit  # the quantiles of scipy.stats.t, which takes a second to import

    num = len(values)
    mean = math.fsum(values) / num
    stderr = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (num - 1) / num)
    half = float(stdtrit(num - 1, 0.975)) * stderr
    return mean, mean - half, mean + half


def possible_range(metric: str) -> tuple[float, float]:
    """What a mean of a metric can be. Student's interval knows nothing of such ends and may reach beyond them."""
    name = metric.partition(",")[0]
    if name in SHARES:
        return 0.0, 1.0
    if name in ("spearman", "mcc", "score"):  # a score may be the mean of correlations
        return -1.0, 1.0
    if name.endswith("loss") or name.removeprefix("dev_") in ("bits_per_byte", "perplexity", "word_perplexity"):
        return 0.0, math.inf
    return -math.inf, math.inf


def is_share(metric: str) -> bool:
    """Whether a metric is known to be 1 at best, and to be written in percent by some."""
    name = metric.partition(",")[0].lower()
    return possible_range(name)[1] == 1 or name.startswith("acc") or name in _OTHER_SHARES


def cut_off(low: float, high: float, ends: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval that is possible."""
    return max(low, ends[0]), min(high, ends[1])


def percent_interval(interval: tuple[float, float]) -> str:
    """`[63.5, 64.3]`, of shares."""
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
