"""How many different documents training has read anything of."""

import numpy as np

from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import DataOrder, Tokens, prepare_packing


class DocumentsSeen:
    """Counts on from the step of the question before."""

    def __init__(self, order: DataOrder, tokens: Tokens, batch: Batch) -> None:
        self._order, self._tokens, self._batch = order, tokens, batch
        self._step = 0
        self._is_seen = np.zeros(len(tokens.train_documents), bool)
        self._num_different = len(np.unique(tokens.first_readings))

    def after(self, step: int) -> int:
        """Documents of which the first `step` steps read a token. One that is read in several passes is one document."""
        if step < self._step:
            self._step = 0
            self._is_seen[:] = False
        if self._step < step and self._is_seen.sum() < self._num_different:
            for first, last in self._order.stretches(self._step, step):
                self._see(first, last)
        self._step = step
        return int(self._is_seen.sum())

    def _see(self, first: int, last: int) -> None:
        excerpt, length = self._order.excerpt(first), self._batch.sequence_length
        text: Tokens = excerpt or self._tokens
        ids = np.unique(np.concatenate([self._order.sequences(step) for step in range(first, last)]))
        ids -= excerpt.first_id if excerpt else 0
        ends = np.asarray(text.train_documents[:, 0]).cumsum()
        if self._batch.packing == "best_fit":
            packing = prepare_packing(text, length)
            is_read = np.zeros(packing.num_sequences, bool)
            is_read[ids] = True
            starts = np.asarray(packing.starts)[np.repeat(is_read, np.diff(packing.first_pieces))]
            found = np.unique(np.searchsorted(ends, starts, "right"))
        else:
            begins = np.searchsorted(ends, ids * length, "right")
            stops = np.searchsorted(ends, (ids + 1) * length - 1, "right") + 1
            # One more where a stretch of documents begins, one less behind its end.
            changes = np.bincount(begins, minlength=len(ends) + 1) - np.bincount(stops, minlength=len(ends) + 1)
            found = np.flatnonzero(changes.cumsum()[:-1])
        places = excerpt.documents[found] if excerpt else found
        self._is_seen[self._tokens.first_readings[places]] = True
