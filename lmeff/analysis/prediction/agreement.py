"""How well an early score agrees with the target: rank correlations, R2, decisions, pooled and within corpora."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lmeff.analysis.prediction.bootstrap import NOTHING, drawn_over
from lmeff.analysis.prediction.pairs import agreement, agreement_of_cells, nan_mean, pair_masks
from lmeff.analysis.scores.curve_table import CurveTable, Floats

FEWEST_RUNS = 3
"""A correlation of fewer is none."""


def agreement_rows(table: CurveTable, column: int) -> list[dict]:
    """`agreement` at an anchor. Correlations are over runs, decision accuracies over pairs of runs of different cells
    (`seeds`: of one cell); `seed_means` are cells of one corpus by their means. `n` counts runs or pairs."""
    early, late = table.scores[:, column], table.target
    known = np.isfinite(early) & np.isfinite(late)
    early, late = np.where(known, early, np.nan), np.where(known, late, np.nan)
    cells = np.flatnonzero(known @ table.members > 0)
    corpora = [(table.corpus_of_cell == corpus).astype(float) for corpus in range(len(table.corpus_names))]
    everything = [np.ones(table.num_cells)]
    masks, of_runs = pair_masks(table), agreement(table, early, late)
    of_means = agreement_of_cells(table.cell_means(early), table.cell_means(late))
    num_runs, num_means = int(known.sum()), of_means.num_pairs(masks["within"])
    rows: list[dict] = []

    def add(scope: str, statistic: str, function: Callable[[Floats], Floats], n: int) -> None:
        said = drawn_over(function, cells, table.num_cells) if n else NOTHING
        tokens = int(table.anchors[column])
        rows.append({"cutoff_tokens": tokens, "scope": scope, "statistic": statistic, **said, "n": n})

    for scope, groups in (("pooled", everything), ("within", corpora)):
        for name, statistic in (("spearman", _spearman), ("kendall", _kendall), ("r2", _r_squared)):
            add(scope, name, partial(_average, statistic, table, early, late, groups), num_runs)
        accuracy = partial(of_runs.accuracy, masks[scope], corpora=groups)
        add(scope, "decision_accuracy", accuracy, of_runs.num_pairs(masks[scope]))
    add("partial", "partial_r", partial(_partial, table, early, late), num_runs)
    for scope in ("sizes", "vocabularies"):
        add(scope, "decision_accuracy", partial(of_runs.accuracy, masks[scope]), of_runs.num_pairs(masks[scope]))
    add("seeds", "decision_accuracy", of_runs.accuracy_of_seeds, round(float(np.trace(of_runs.counts))))
    add("seed_means", "spearman", partial(_of_means, table, early, late, corpora), len(cells))
    add("seed_means", "decision_accuracy", partial(of_means.accuracy, masks["within"]), num_means)
    return rows


def _average(
    statistic: Callable[[Floats, Floats, Floats], Floats],
    table: CurveTable,
    early: Floats,
    late: Floats,
    groups: Sequence[Floats],
    weights: Floats,
) -> Floats:
    """(batch,): a statistic of the runs of each group of cells, averaged over groups."""
    values = []
    for group in groups:
        inside = np.flatnonzero((group[table.cell] > 0) & np.isfinite(early))
        if len(inside) >= FEWEST_RUNS:
            values.append(statistic(early[inside], late[inside], weights[:, table.cell[inside]]))
    return nan_mean(np.array(values)) if values else np.full(len(weights), np.nan)


def _of_means(table: CurveTable, early: Floats, late: Floats, corpora: Sequence[Floats], weights: Floats) -> Floats:
    one, other = table.cell_means(early), table.cell_means(late)
    values = []
    for group in corpora:
        inside = np.flatnonzero((group > 0) & np.isfinite(one) & np.isfinite(other))
        if len(inside) >= FEWEST_RUNS:
            values.append(_spearman(one[inside], other[inside], weights[:, inside]))
    return nan_mean(np.array(values)) if values else np.full(len(weights), np.nan)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """(batch, n): mid-ranks when each value stands there as often as its weight says."""
    distinct, place = np.unique(values, return_inverse=True)
    totals = weights @ (place[:, None] == np.arange(len(distinct))).astype(float)
    return (np.cumsum(totals, axis=1) - totals / 2 + 0.5)[:, place]


def _pearson(one: Floats, other: Floats, weights: Floats) -> Floats:
    """(batch,): weighted correlation of values (batch, n); NaN where one is constant."""
    total = np.maximum(weights.sum(1, keepdims=True), 1e-12)
    one = one - (weights * one).sum(1, keepdims=True) / total
    other = other - (weights * other).sum(1, keepdims=True) / total
    products = (weights * one * other).sum(1)
    squares = (weights * one**2).sum(1) * (weights * other**2).sum(1)
    return np.where(squares > 1e-24, products / np.sqrt(np.maximum(squares, 1e-300)), np.nan)


def _spearman(early: Floats, late: Floats, weights: Floats) -> Floats:
    return _pearson(_ranks(early, weights), _ranks(late, weights), weights)


def _r_squared(early: Floats, late: Floats, weights: Floats) -> Floats:
    shape = weights.shape
    return _pearson(np.broadcast_to(early, shape), np.broadcast_to(late, shape), weights) ** 2


def _kendall(early: Floats, late: Floats, weights: Floats) -> Floats:
    """Tau-b: pairs that are tied in one of the two count in its denominator only."""
    one, other = np.sign(early[:, None] - early[None]), np.sign(late[:, None] - late[None])

    def total(matrix: Floats) -> Floats:
        return ((weights @ matrix) * weights).sum(1)

    below = total(np.abs(one)) * total(np.abs(other))
    return np.where(below > 0, total(one * other) / np.sqrt(np.maximum(below, 1e-12)), np.nan)


def _partial(table: CurveTable, early: Floats, late: Floats, weights: Floats) -> Floats:
    """Correlation of what is left of both given the means of corpora and log2(tokens per step)."""
    inside = np.flatnonzero(np.isfinite(early))
    drawn = weights[:, table.cell[inside]]
    corpora = (table.corpus[inside][:, None] == np.arange(len(table.corpus_names))).astype(float)

    def within(values: Floats) -> Floats:
        sums = (drawn * values) @ corpora
        means = sums / np.maximum(drawn @ corpora, 1e-12)
        return values - means[:, table.corpus[inside]]

    batch = within(table.log_batch_of_cell[table.cell[inside]])
    square = (drawn * batch**2).sum(1, keepdims=True)

    def left(values: Floats) -> Floats:
        inner = within(values)
        slope = np.where(square > 1e-12, (drawn * inner * batch).sum(1, keepdims=True) / np.maximum(square, 1e-12), 0.0)
        return inner - slope * batch

    return _pearson(left(early[inside]), left(late[inside]), drawn)
