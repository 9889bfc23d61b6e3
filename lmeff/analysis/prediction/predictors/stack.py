"""The stack: a mean of four predictors whose weights come from predicting finished cells as if they were not.

A cell is left out of what a split knows, and as many cells of its corpus are left as there are finished ones beside the run
that is to be predicted; so weights and width of the interval are learned for the situation they are used in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from lmeff.analysis.prediction.predictors.forecasts import Fitted, Forecast, cells_in
from lmeff.analysis.scores.curve_table import CurveTable, Floats, Ints, Mask

Item = TypeVar("Item")

COMPONENTS = ("pooling", "design_only", "mean_gain", "shapes")
"""The first is what weights are drawn to while few cells speak against it."""
WEIGHT_SD = 0.5
"""How far weights are expected from that."""
WIDTH_CELLS = 4.0
"""The model's own width of the interval counts as much as so many left-out cells."""
FEWEST_CORPORA = 4
"""From fewer, the level of another corpus cannot be told: the design alone then has no weight."""
FEWEST_CELLS = 2
"""From fewer, no rehearsal says anything."""
MOST_REHEARSALS = 60
"""Of a split; in large tables an even selection of cells."""
_MOST_ROTATIONS = 6


@dataclass(frozen=True)
class _Rehearsals:
    """Finished cells that were predicted as if they were not."""

    owner: Ints
    """(rehearsals,): the split whose runs were known."""
    chosen: Floats
    """(rehearsals, cells): 1 for what was known."""
    cell: Ints
    """(rehearsals,): the cell that was predicted."""


def stacked(fitted: Fitted, num_beside: Ints) -> tuple[Forecast, Floats]:
    """The stack's forecast and its weights (splits, `COMPONENTS`); `num_beside` (splits,): finished cells in the corpus of
    the runs that each split is to predict."""
    rehearsals = _rehearse(fitted, num_beside)
    num_splits, num_components = len(fitted.masks), len(COMPONENTS)
    table = fitted.cutoff.table
    by_cell = np.zeros((num_splits, table.num_cells, num_components, num_components))
    expected = np.zeros((num_splits, table.num_cells))
    times = np.zeros((num_splits, table.num_cells))
    if len(rehearsals.owner):
        errors, variance, counted = _rehearsal_errors(fitted, rehearsals)
        counts = counted.sum(1)
        products = np.einsum("ink,inl->ikl", errors, errors) / counts[:, None, None]
        np.add.at(by_cell, (rehearsals.owner, rehearsals.cell), products)
        np.add.at(expected, (rehearsals.owner, rehearsals.cell), variance.sum(1) / counts)
        np.add.at(times, (rehearsals.owner, rehearsals.cell), 1.0)
    by_cell /= np.maximum(times, 1)[:, :, None, None]
    expected /= np.maximum(times, 1)
    weights = _weights(*_units(table, by_cell, times > 0, num_beside))
    squares = np.einsum("sk,sckl,sl->sc", weights, by_cell, weights)
    disagreement = np.einsum("sk,sckk->sc", weights, by_cell) - squares
    ratios = np.where(times > 0, squares / np.where(times > 0, expected + disagreement, 1.0), 0.0).sum(1)
    widening = (ratios + WIDTH_CELLS) / ((times > 0).sum(1) + WIDTH_CELLS)
    means = np.stack([fitted.forecasts[name].mean for name in COMPONENTS])
    pooling = fitted.forecasts["pooling"]
    mean = np.einsum("sk,ksr->sr", weights, means)
    apart = np.einsum("sk,ksr->sr", weights, (means - mean) ** 2)
    # Never narrower than the model says: the same few cells chose the weights.
    variance = np.maximum((pooling.sd**2 + apart) * widening[:, None], pooling.sd**2)
    return Forecast(mean, np.sqrt(variance), pooling.freedom), weights


def _units(table: CurveTable, by_cell: Floats, tried: Mask, num_beside: Ints) -> tuple[Floats, Ints]:
    """Squared errors (splits, components, components), summed over what is independent, and its number: cells or, where nobody
    has finished the corpus, whose level is then unknown to all its cells alike, corpora."""
    corpora = (table.corpus_of_cell[:, None] == np.arange(len(table.corpus_names))).astype(float)
    per_corpus = tried @ corpora
    of_corpus = np.einsum("sckl,cd->sdkl", by_cell, corpora) / np.maximum(per_corpus, 1)[:, :, None, None]
    unknown = num_beside == 0
    sums = np.where(unknown[:, None, None], of_corpus.sum(1), by_cell.sum(1))
    number = np.where(unknown, (per_corpus > 0).sum(1), tried.sum(1))
    design = COMPONENTS.index("design_only")
    sums[unknown & (number < FEWEST_CORPORA), design, design] += 1e6
    return sums, number


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """All of them or, of more than `most`, so many at even distances."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _rehearse(fitted: Fitted, num_beside: Ints) -> _Rehearsals:
    owners, chosen, cells = [], [], []
    table = fitted.cutoff.table
    for split, (known, beside) in enumerate(zip(cells_in(fitted.masks, table), num_beside, strict=True)):
        finished = np.flatnonzero(known)
        every = [(int(cell), left) for cell in finished for left in _left_out(table, finished, int(cell), int(beside))]
        for cell, left in evenly(every, MOST_REHEARSALS):
            smaller = known.copy()
            smaller[left] = 0
            if smaller.sum() >= FEWEST_CELLS:
                owners.append(split)
                chosen.append(smaller)
                cells.append(cell)
    return _Rehearsals(np.array(owners, int), np.array(chosen).reshape(-1, table.num_cells), np.array(cells, int))


def _left_out(table: CurveTable, finished: Ints, cell: int, beside: int) -> list[list[int]]:
    """Which cells are left out so that `beside` others of the cell's corpus stay: some choices of them, or all when there are
    no more. No choice where another corpus would have to stand in for too few."""
    others = [
        int(other) for other in finished if other != cell and table.corpus_of_cell[other] == table.corpus_of_cell[cell]
    ]
    if len(others) <= beside:
        return [[cell]] if len(others) or not beside else []
    rotations = range(len(others)) if beside else range(1)
    kept = [{others[(start + step) % len(others)] for step in range(beside)} for start in rotations]
    stride = max(len(kept) // _MOST_ROTATIONS, 1)
    return [[cell, *(other for other in others if other not in stay)] for stay in kept[::stride][:_MOST_ROTATIONS]]


def _rehearsal_errors(fitted: Fitted, rehearsals: _Rehearsals) -> tuple[Floats, Floats, Mask]:
    """Errors (rehearsals, n, components) of the runs of each cell, the variance that pooling expects (rehearsals, n), and which
    of the n are runs (rehearsals, n); zeros elsewhere."""
    cutoff, table = fitted.cutoff, fitted.cutoff.table
    runs_of = [np.flatnonzero((table.cell == cell) & cutoff.usable) for cell in range(table.num_cells)]
    most = max(map(len, runs_of))
    padded = np.array([np.pad(runs, (0, most - len(runs))) for runs in runs_of])
    runs = padded[rehearsals.cell]
    counted = np.arange(most) < np.array([len(one) for one in runs_of])[rehearsals.cell][:, None]
    predictions = {}
    for name in ("pooling", "design_only"):
        log_sds = fitted.posteriors[name].log_sds[rehearsals.owner]
        predictions[name], sd = fitted.models[name].predict_again(rehearsals.chosen, log_sds, runs)
        if name == "pooling":
            variance = np.where(counted, sd**2, 0.0)
    of_cells = table.members * cutoff.usable[:, None]
    gains = rehearsals.chosen @ (cutoff.gain @ of_cells) / np.maximum(rehearsals.chosen @ of_cells.sum(0), 1)
    predictions["mean_gain"] = cutoff.score[runs] + gains[:, None]
    predictions["shapes"] = np.nan_to_num(cutoff.shapes[0])[runs]
    target = np.where(cutoff.usable, np.nan_to_num(table.target), 0.0)[runs]
    errors = np.stack([predictions[name] - target for name in COMPONENTS], axis=2)
    return np.where(counted[:, :, None], errors, 0.0), variance, counted


def _weights(products: Floats, num_cells: Ints) -> Floats:
    """(splits, components): not negative, with sum 1, with the smallest squared error over the cells; of a split without any,
    the first component alone. `products` (splits, components, components) are sums over cells."""
    size = products.shape[1]
    one_cell = products[:, 0, 0] / np.maximum(num_cells, 1)
    away = np.ones(size)
    away[0] = 0
    matrix = products + (one_cell[:, None] * away / WEIGHT_SD**2)[:, :, None] * np.eye(size)
    matrix = matrix + np.maximum(np.einsum("skk->s", matrix), 1e-12)[:, None, None] * 1e-9 * np.eye(size)
    best = np.zeros((len(products), size))
    best[:, 0] = 1
    value = np.where(num_cells > 0, matrix[:, 0, 0], -np.inf)
    for number in range(1, size + 1):
        for chosen in combinations(range(size), number):
            part = matrix[:, chosen][:, :, chosen]
            raw = np.linalg.solve(part, np.ones((len(part), number, 1)))[:, :, 0]
            share = raw / raw.sum(1, keepdims=True)
            error = np.einsum("sk,skl,sl->s", share, part, share)
            better = (share >= 0).all(1) & (error < value)
            best[better] = 0
            best[np.ix_(better, chosen)] = share[better]
            value = np.where(better, error, value)
    return best
