"""When a model has learned a task: the anchor from which on it is surely right often enough."""

import math
from collections.abc import Mapping, Sequence

from lmeff.analysis.statistics.curve import Curve

CHANCE = 0.5
"""Accuracy of guessing on minimal pairs."""
ACQUIRED = 0.75
"""A paradigm counts as acquired from the anchor on after which it stays at or above this accuracy: half way from chance to
perfect. `acquisition_order` has the whole rule."""


def acquisition_order(curves: Mapping[str, Sequence[Curve]]) -> list[tuple[str, int | None]]:
    """Tasks with the nominal tokens of the anchor at which they were learned (None: never), earliest first.

    A task is learned at the first anchor from which on, to the last, the whole 95% interval of its accuracy stays at or above
    75%. Anchor 0 never counts: a model that was not trained has learned nothing, whatever its accuracy. Of several seeds each
    has to have learned it, each by its own interval over pairs. Among tasks of one anchor the higher final accuracy goes first.

    Args:
        curves: by task those of its accuracy, one a seed.
    """
    keys = []
    for task, of_seeds in curves.items():
        firsts = [learned_at(curve) for curve in of_seeds]
        known = [first for first in firsts if first is not None]
        first = max(known) if len(known) == len(firsts) else None
        final = sum(curve.values[-1] for curve in of_seeds) / len(of_seeds)
        keys.append((math.inf if first is None else first, -final, task, first))
    return [(task, first) for _, _, task, first in sorted(keys, key=lambda key: key[:3])]


def learned_at(curve: Curve) -> int | None:
    """The nominal tokens at which one run learned a task, by the rule of `acquisition_order`."""
    first = None
    for tokens, low in zip(curve.tokens, curve.lows, strict=True):
        if not (tokens > 0 and low >= ACQUIRED):  # also where there is no interval
            first = None
        elif first is None:
            first = tokens
    return first
