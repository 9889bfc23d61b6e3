"""Which of two runs, or of two recipes, is better: how often scores agree about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmeff.analysis.scores.curve_table import CurveTable, Floats, Mask

KINDS = ("within", "sizes", "vocabularies")
"""Pairs of cells of one corpus: all; of other sizes; of one size and other vocabularies."""


def pair_masks(table: CurveTable) -> dict[str, Mask]:
    """By kind (cells, cells), symmetric: the pairs of `KINDS`, and `pooled`, all pairs of different cells."""
    same = np.eye(table.num_cells, dtype=bool)
    corpus = table.corpus_of_cell[:, None] == table.corpus_of_cell[None]
    size, vocabulary = table.size_of_cell, table.vocabulary_of_cell
    sizes = corpus & (size[:, None] != size[None]) & np.isfinite(size[:, None]) & np.isfinite(size[None])
    known = np.isfinite(vocabulary[:, None]) & np.isfinite(vocabulary[None])
    same_size = (size[:, None] == size[None]) | (np.isnan(size[:, None]) & np.isnan(size[None]))
    vocabularies = corpus & known & same_size & (vocabulary[:, None] != vocabulary[None])
    return {"pooled": ~same, "within": corpus & ~same, "sizes": sizes, "vocabularies": vocabularies}


@dataclass(frozen=True)
class Agreement:
    """Pairs of runs on which two scores agree, summed by the cells of both."""

    hits: Floats
    """(cells, cells): a tie counts one half; on the diagonal pairs of runs of one cell, each once."""
    counts: Floats
    """(cells, cells)"""

    def accuracy(self, mask: Mask, weights: Floats, corpora: Sequence[Floats] | None = None) -> Floats:
        """(batch,): the share of pairs with agreement for weights of cells (batch, cells); with `corpora` (0 or 1 of each cell)
        the mean over corpora of it."""
        groups = [np.ones(weights.shape[1])] if corpora is None else corpora
        values = []
        for group in groups:
            drawn = weights * group
            number = ((drawn @ (self.counts * mask)) * drawn).sum(1)
            right = ((drawn @ (self.hits * mask)) * drawn).sum(1)
            values.append(np.where(number > 0, right / np.maximum(number, 1e-12), np.nan))
        return nan_mean(np.array(values))

    def accuracy_of_seeds(self, weights: Floats) -> Floats:
        """(batch,): of pairs within cells."""
        number = weights @ np.diag(self.counts)
        return np.where(number > 0, weights @ np.diag(self.hits) / np.maximum(number, 1e-12), np.nan)

    def num_pairs(self, mask: Mask) -> int:
        """How many pairs there are."""
        return round(float((self.counts * mask).sum() / 2))


def nan_mean(values: Floats) -> Floats:
    """Means over the first axis of what is there; NaN where nothing is."""
    known = np.isfinite(values)
    return np.where(known.any(0), np.where(known, values, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def agreement(table: CurveTable, first: Floats, second: Floats) -> Agreement:
    """Of two scores (runs,) for pairs of runs; NaN takes part in no pair."""
    hits, counts = sign_hits(first, second)
    hits_by_cell = table.members.T @ hits @ table.members
    counts_by_cell = table.members.T @ counts @ table.members
    halved = np.where(np.eye(table.num_cells, dtype=bool), 0.5, 1.0)
    return Agreement(hits_by_cell * halved, counts_by_cell * halved)


def agreement_of_cells(first: Floats, second: Floats) -> Agreement:
    """The same of scores (cells,), such as means over seeds."""
    return Agreement(*sign_hits(first, second))


def sign_hits(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """(n, n) each: 1 where both order a pair alike, 1/2 where either has a tie, 0 elsewhere; 1 where there is a pair."""
    known = np.isfinite(first) & np.isfinite(second)
    one, other = np.where(known, first, 0.0), np.where(known, second, 0.0)
    product = np.sign(one[:, None] - one[None]) * np.sign(other[:, None] - other[None])
    counts = (known[:, None] & known[None] & ~np.eye(len(first), dtype=bool)).astype(float)
    return (product + 1) / 2 * counts, counts
