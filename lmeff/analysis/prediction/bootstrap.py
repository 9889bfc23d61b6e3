"""Intervals over cells: runs of a cell differ in their seed alone, so that cells and not runs are the independent units."""

from collections.abc import Callable
from functools import cache

import numpy as np

from lmeff.analysis.scores.curve_table import Floats, Ints

FEWEST_CELLS = 8
"""With fewer there is no interval."""
NUM_RESAMPLES = 2000
NOTHING = {"value": None, "low": None, "high": None}
"""Of a statistic of no runs."""


@cache
def resamples(num_cells: int, number: int = NUM_RESAMPLES) -> Floats:
    """(number, cells): how often each cell is drawn, with replacement; always the same ones."""
    generator = np.random.default_rng(0)
    return generator.multinomial(num_cells, np.full(num_cells, 1 / num_cells), size=number).astype(float)


def with_interval(statistic: Callable[[Floats], Floats], num_cells: int) -> dict:
    """`value`, `low` and `high` (95%, percentiles) of a statistic, which is a function from weights of cells (batch, cells) to
    values (batch,); None for what cannot be said."""
    value = float(statistic(np.ones((1, num_cells)))[0])
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    if num_cells < FEWEST_CELLS:
        return {"value": value, "low": None, "high": None}
    drawn = statistic(resamples(num_cells))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}


def drawn_over(statistic: Callable[[Floats], Floats], cells: Ints, num_cells: int) -> dict:
    """`with_interval` of a statistic that takes weights of all cells, where some of them only have a say."""

    def of_some(weights: Floats) -> Floats:
        every = np.zeros((len(weights), num_cells))
        every[:, cells] = weights
        return statistic(every)

    return with_interval(of_some, len(cells))
