"""How many positions carried a loss. Between two steps that follows from the recipe and the text, so that nothing is counted on
the way, unless an objective draws its positions. A checkpoint keeps the number, since a run may go on with another mask or
another text."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lmeff.objectives.objective import Objective
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import DataOrder, Tokens


@dataclass
class LossPositions:
    """Positions with a loss since the start of the run. Without `go_on_from` the whole run is taken to be as the recipe is."""

    objective: Objective
    tokens: Tokens
    batch: Batch
    order: DataOrder
    _begin: tuple[int, int] = (0, 0)
    """Step and positions up to there, which are known."""
    _seen: tuple[int, int] = (0, 0)
    """Step and positions up to there, of the last question; the next one goes on from it."""
    _of: tuple[int, int] = (0, 0)
    _of_sequences: np.ndarray | int = 0
    """Of sequences of the text whose ids begin with `_of[1]`, cut to pieces of `_of[0]`."""

    _counted: Any = 0
    """Of steps that were trained since the beginning, where positions are drawn: a tensor, which is looked at only when
    somebody asks."""

    def go_on_from(self, step: int, num_positions: int) -> None:
        """Counts on from a checkpoint's number."""
        self._begin = self._seen = (step, num_positions)
        self._counted = 0

    def count(self, num_positions: Any) -> None:
        """Takes note of a step's positions with a loss, a scalar tensor of the global batch."""
        self._counted = self._counted + num_positions

    def after(self, step: int) -> int:
        """Positions with a loss in the first `step` steps; no step before the one that is gone on from. Where positions are
        drawn, `step` is the last one that was trained."""
        if self.objective.positions_are_drawn:
            return self._begin[1] + int(self._counted)
        done, total = self._seen if self._seen[0] <= step else self._begin
        firsts = [*(first for first, _ in self.batch.length_stages()), step]
        for (first, length), following in zip(self.batch.length_stages(), firsts[1:], strict=True):
            begin, end = max(first, done), min(following, step)
            if begin < end:
                total += self._between(begin, end, length)
        self._seen = (step, total)
        return total

    def _between(self, begin: int, end: int, length: int) -> int:
        """In steps `begin` to `end`, whose sequences are cut to `length`."""
        return sum(self._of_stretch(*stretch, length) for stretch in self.order.stretches(begin, end))

    def _of_stretch(self, begin: int, end: int, length: int) -> int:
        """The same of steps that read sequences of one text."""
        excerpt = self.order.excerpt(begin)
        key = (length, excerpt.first_id if excerpt else 0)
        if self._of != key:
            self._of = key
            self._of_sequences = self.objective.loss_positions(excerpt or self.tokens, self.batch, length)
        if isinstance(self._of_sequences, int):
            return self.order.clock.sequences_at(end - begin) * self._of_sequences
        return self.order.total(self._of_sequences, begin, end)
