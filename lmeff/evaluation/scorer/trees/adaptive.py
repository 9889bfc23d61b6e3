"""Which minimal pairs bfloat16 may decide: those whose margin is larger than its error can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmeff.evaluation.scorer.trees.tree_scorer import Answer

SAFETY = 2.0
"""The error bound is so many times the largest error seen."""
SAMPLE = 32
"""Pairs of each task that are always scored both ways."""


@dataclass(frozen=True)
class Adapted:
    answers: list[Answer]
    in_float32: np.ndarray
    """(requests,) bool: which answers are float32's."""
    error_bound: float
    """What the error of a margin was taken to be at most, in nats."""
    compiled: bool = False
    """Whether bfloat16's answers come from compiled code; others differ in their last bits."""


def adapt(rough: Sequence[Answer], exactly: Callable[[list[int]], list[Answer]]) -> Adapted:
    """Scores again, exactly, every minimal pair whose order bfloat16 might have got wrong.

    A sample of pairs is scored both ways; `SAFETY` times the largest error of a margin is the bound; pairs with a smaller
    margin are scored exactly, and may show larger errors, until none is left inside.

    Args:
        rough: bfloat16's answers, two for each pair.
        exactly: gives float32's answers to the requests with these numbers.
    """
    margins = np.diff(np.array([value for value, _ in rough]).reshape(-1, 2))[:, 0]
    answers, done, error = list(rough), np.zeros(len(margins), bool), 0.0
    wanted = ~np.isfinite(margins)
    wanted[np.random.default_rng(0).permutation(len(margins))[:SAMPLE]] = True
    while True:
        wanted |= np.abs(margins) <= SAFETY * error
        new = np.flatnonzero(wanted & ~done)
        if not len(new):
            return Adapted(answers, np.repeat(done, 2), SAFETY * error)
        numbers = [number for pair in new for number in (2 * pair, 2 * pair + 1)]
        for number, answer in zip(numbers, exactly(numbers), strict=True):
            answers[number] = answer
        exact_margins = np.array([answers[2 * pair + 1][0] - answers[2 * pair][0] for pair in new])
        errors = np.abs(exact_margins - margins[new])
        error = max(error, float(errors[np.isfinite(errors)].max(initial=0.0)))
        done |= wanted
