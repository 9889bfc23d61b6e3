"""Learning curves of one task as arrays: a row for each run, a column for each anchor."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NUM_SEEDS_FOR_NOISE = 5
"""So many degrees of freedom say how noisy seeds are."""
DECIMALS = 12
"""Scores, which may be means themselves, and means of them are rounded to so many: the order in which floats are added decides
the last digits, and must not break a tie."""
USUAL_SEED_SD = 0.0097
"""Of BLiMP's accuracy over seeds; stands in where a table has no seeds."""


@dataclass(frozen=True, eq=False)
class CurveTable:
    """Scores are shares of 1, more is better; NaN where a run has no score."""

    run_names: tuple[str, ...]
    cell_names: tuple[str, ...]
    """A cell is what is trained alike but for the seed: corpus, size, vocabulary, and whatever else was said."""
    corpus_names: tuple[str, ...]
    cell: Ints
    """(runs,): the cell of each run."""
    corpus_of_cell: Ints
    """(cells,)"""
    size_of_cell: Floats
    """(cells,): parameters or else any number that grows with them; NaN where no size is known."""
    vocabulary_of_cell: Floats
    """(cells,): NaN where it is not known."""
    log_batch_of_cell: Floats
    """(cells,): log2 of tokens per step; zeros where a table does not have them."""
    has_batches: bool
    """Whether tokens per step are known of every run."""
    anchors: Ints
    """(anchors,): tokens, rising."""
    scores: Floats
    """(runs, anchors)"""
    final: Floats
    """(runs,): the score called `final`; NaN where there is none."""
    flops: Floats
    """(runs, anchors): FLOPs up to an anchor; NaN where they are not known."""
    target_label: str = ""
    target: Floats = None  # type: ignore[assignment]
    """(runs,): what is predicted; NaN of runs that are not there yet."""
    target_tokens: int = 0
    """Of `final` the last anchor that runs with a final share."""
    unit: str = "tokens"
    """What `anchors` count."""
    final_tokens: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """(runs,): the anchor whose score is called `final`; 0 where that is at no known number of tokens."""

    @property
    def num_runs(self) -> int:
        return len(self.cell)

    @property
    def num_cells(self) -> int:
        return len(self.cell_names)

    @cached_property
    def corpus(self) -> Ints:
        """(runs,): the corpus of each run."""
        return self.corpus_of_cell[self.cell]

    @cached_property
    def members(self) -> Floats:
        """(runs, cells): 1 where a run is of a cell."""
        return (self.cell[:, None] == np.arange(self.num_cells)).astype(float)

    @cached_property
    def is_finished(self) -> Mask:
        """(runs,): has reached the target."""
        return ~np.isnan(self.target)

    @cached_property
    def skips_target(self) -> Mask:
        """(runs,): has no score at the target, but one beyond it: such a run lacks a score and is not on its way there."""
        beyond = (self.anchors > self.target_tokens) & (self.target_label != "final")
        return ~self.is_finished & (~np.isnan(self.scores) & beyond).any(1)

    @cached_property
    def cutoffs(self) -> list[int]:
        """Columns of anchors before the target that say something of three or more finished cells; of `final` the last anchor
        is one."""
        before = (
            self.anchors <= self.target_tokens if self.target_label == "final" else self.anchors < self.target_tokens
        )
        known = ~np.isnan(self.scores) & self.is_finished[:, None]
        return [int(column) for column in np.flatnonzero(before) if len(set(self.cell[known[:, column]])) > 2]

    @cached_property
    def seed_squares(self) -> tuple[Floats, Floats]:
        """(cells,) each: squared deviations of the target from the mean of its cell, summed, and degrees of freedom."""
        counts = self.is_finished @ self.members
        away = np.where(self.is_finished, self.target - self.cell_means(self.target)[self.cell], 0.0)
        return away**2 @ self.members, np.maximum(counts - 1, 0)

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the target over the seeds of a cell; NaN with too few of them."""
        squares, freedom = (float(values.sum()) for values in self.seed_squares)
        return float(np.sqrt(squares / freedom)) if freedom >= NUM_SEEDS_FOR_NOISE else float("nan")

    def noise_scales(self, cells: Floats) -> Floats:
        """(batch,): how much noisier seeds of the given cells (batch, cells) are than BLiMP's: what deviations are expected to
        be in proportion to; 1 where too few are known."""
        squares, freedom = (cells @ values for values in self.seed_squares)
        known = (freedom >= NUM_SEEDS_FOR_NOISE) & (squares > 0)
        return np.where(known, np.sqrt(squares / np.maximum(freedom, 1)) / USUAL_SEED_SD, 1.0)

    def cell_means(self, values: Floats) -> Floats:
        """(cells,): means of values (runs,) that are there; NaN of a cell without one."""
        known = ~np.isnan(values)
        counts = known @ self.members
        sums = np.where(known, values, 0.0) @ self.members
        return np.where(counts > 0, np.round(sums / np.maximum(counts, 1), DECIMALS), np.nan)

    def with_target(self, label: str, values: Floats, tokens: int) -> "CurveTable":
        """The same curves with another target."""
        return replace(self, target_label=label, target=values, target_tokens=tokens)

    def flops_shares(self) -> Floats:
        """(anchors,): how much of what training up to the target costs an anchor takes: of FLOPs where they are known, else of
        tokens, of which each costs the same."""
        at_target = int(np.searchsorted(self.anchors, self.target_tokens))
        shares = self.anchors / self.target_tokens
        if at_target >= len(self.anchors):
            return shares
        with np.errstate(invalid="ignore", divide="ignore"):
            known = self.flops / self.flops[:, [at_target]]
        usable = np.isfinite(known)
        counts = usable.sum(0)
        means = np.where(usable, known, 0.0).sum(0) / np.maximum(counts, 1)
        return np.where(counts > 0, means, shares)
