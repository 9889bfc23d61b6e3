"""Corrections of p values for how many comparisons were made."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given: below .05, the chance of one or more false findings among all of them is below
    .05, however they depend on one another (Holm 1979, "A simple sequentially rejective multiple test procedure")."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _in_order(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given: of those below .05, less than 5% are expected to be false findings (Benjamini &
    Hochberg 1995, "Controlling the false discovery rate"; for tests that are independent or depend positively)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _in_order(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _in_order(values: np.ndarray, order: np.ndarray) -> list[float]:
    back = np.empty_like(values)
    back[order] = values
    return [float(value) for value in back]
