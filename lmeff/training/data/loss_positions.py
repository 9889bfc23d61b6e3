"""How many positions carried a loss. Between two steps that follows from the recipe and the text, so that nothing is counted on
the way; a checkpoint keeps the number, since a run may go on with another mask or another text."""

from dataclasses import dataclass, field

import numpy as np

from lmeff.recipe.schema import Batch
from lmeff.tokens import SampleOrder, Tokens
from lmeff.tokens.packing import prepare_packing


def loss_positions(tokens: Tokens, batch: Batch, length: int) -> np.ndarray:
    """Positions with a loss in every sequence of an epoch, (sequences,) int64, when sequences are cut to pieces of `length`."""
    whole, per_piece = batch.sequence_length, batch.sequence_length // length
    if batch.packing == "best_fit":
        packing = prepare_packing(tokens, whole)
        rows, columns = packing.places()
        num_sequences, filled = packing.num_sequences, np.bincount(rows, packing.sizes).astype(np.int64)
        # Of the padding, the first positions of pieces have no loss anyway.
        padding = whole - filled - (per_piece - -(-filled // length))
        unpredicted = np.ones(len(rows), bool) if batch.document_mask else np.asarray(packing.goes_on)
    else:
        num_sequences, padding = tokens.train.num_tokens // whole, 0
        documents = np.asarray(tokens.train_documents[:, 0]) if batch.document_mask else np.zeros(0, np.int64)
        rows, columns = np.divmod(documents.cumsum() - documents, whole)
        unpredicted = rows < num_sequences
    rows = rows[unpredicted & (columns % length > 0)]
    return whole - per_piece - padding - np.bincount(rows, minlength=num_sequences)


@dataclass
class LossPositions:
    """Positions with a loss since the start of the run. Without `go_on_from` the whole run is taken to be as the recipe is."""

    tokens: Tokens
    batch: Batch
    order: SampleOrder
    _begin: tuple[int, int] = (0, 0)
    """Step and positions up to there, which are known."""
    _seen: tuple[int, int] = (0, 0)
    """Step and positions up to there, of the last question; the next one goes on from it."""
    _length: int = 0
    _by_sequence: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def go_on_from(self, step: int, num_positions: int) -> None:
        """Counts on from a checkpoint's number."""
        self._begin = self._seen = (step, num_positions)

    def after(self, step: int) -> int:
        """Positions with a loss in the first `step` steps; no step before the one that is gone on from."""
        done, total = self._seen if self._seen[0] <= step else self._begin
        if self.batch.is_plain:
            clock = self.batch.clock
            return total + clock.tokens_at(step - done) - clock.sequences_at(step - done)
        firsts = [*(first for first, _ in self.batch.length_stages()), step]
        for (first, length), following in zip(self.batch.length_stages(), firsts[1:], strict=True):
            begin, end = max(first, done), min(following, step)
            if begin < end:
                total += self._between(begin, end, length)
        self._seen = (step, total)
        return total

    def _between(self, begin: int, end: int, length: int) -> int:
        """In steps `begin` to `end`, whose sequences are cut to `length`."""
        if length != self._length:
            self._length, self._by_sequence = length, loss_positions(self.tokens, self.batch, length)
        first, last = map(self.batch.clock.sequences_at, (begin, end))
        num_sequences = self.order.num_sequences
        total, of_an_epoch = 0, int(self._by_sequence.sum())
        while first < last:
            count = min(num_sequences - first % num_sequences, last - first)
            # A whole epoch has the same sequences in every order.
            whole = count == num_sequences
            total += of_an_epoch if whole else int(self._by_sequence[self.order.sequence_ids(first, count)].sum())
            first += count
        return total
