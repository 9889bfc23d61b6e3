"""Sequences of the training text: blocks of the stream or packed by best fit, whole or cut shorter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lmeff.objectives import Objective, Pieces
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import BOS_ID, DataOrder, Tokens
from lmeff.tokens.packing import prepare_packing


@dataclass(frozen=True)
class MicroBatch:
    """What one process reads at once."""

    sequence_ids: Sequence[int]
    length: int
    """Its sequences are cut to pieces of so many tokens."""
    step: int
    """The optimizer step, counted from 0."""
    first_slot: int
    """Place in the global batch of its first sequence; the others follow."""


class _Cut:
    """A text cut into sequences."""

    def __init__(self, tokens: Tokens, batch: Batch) -> None:
        self._stream, self._length = tokens.train, batch.sequence_length
        self._packing = prepare_packing(tokens, batch.sequence_length) if batch.packing == "best_fit" else None

    def __len__(self) -> int:
        if self._packing is not None:
            return self._packing.num_sequences
        return self._stream.num_tokens // self._length

    def read(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(batch, sequence) each: the ids, and where a document, a later piece of one or the padding begins."""
        if self._packing is not None:
            return self._packing.read(self._stream, sequences)
        input_ids = self._stream.blocks(sequences, self._length)
        return input_ids, input_ids == BOS_ID


class TrainSequences(Dataset):
    """All sequences of the training text, as inputs of an objective. Fetches a whole micro-batch at once."""

    order: DataOrder | None = None
    """Knows of each step which text its sequences are cut from; None where it is always the whole."""

    def __init__(self, tokens: Tokens, batch: Batch, objective: Objective) -> None:
        self._batch, self._objective = batch, objective
        self._whole = _Cut(tokens, batch)
        self._excerpt: tuple[int, _Cut] = (0, self._whole)
        """The first id and the sequences of the text that was read last."""

    def __len__(self) -> int:
        """Sequences of the whole text."""
        return len(self._whole)

    def _read(self, micro_batch: MicroBatch) -> tuple[np.ndarray, np.ndarray]:
        ids, excerpt = (
            np.asarray(micro_batch.sequence_ids),
            self.order.excerpt(micro_batch.step) if self.order else None,
        )
        if excerpt is None:
            return self._whole.read(ids)
        if self._excerpt[0] != excerpt.first_id:
            self._excerpt = (excerpt.first_id, _Cut(excerpt, self._batch))
        return self._excerpt[1].read(ids - excerpt.first_id)

    def pieces(self, micro_batch: MicroBatch) -> Pieces:
        """The micro-batch as text, the pieces of a sequence one after the other. A sequence that is cut has a slot for each of
        its pieces."""
        whole, begins = self._read(micro_batch)
        input_ids, begins = whole.reshape(-1, micro_batch.length), begins.reshape(-1, micro_batch.length)
        begins[:, 0] = True
        per_sequence = len(input_ids) // len(whole)
        first = micro_batch.first_slot * per_sequence
        slots = range(first, first + len(input_ids))
        sequence_ids = np.repeat(np.asarray(micro_batch.sequence_ids), per_sequence)
        return Pieces(input_ids, begins, sequence_ids, self._batch.document_mask, micro_batch.step, slots)

    def __getitems__(self, micro_batch: MicroBatch) -> dict[str, Any]:
        """The objective's inputs, and `micro_batch`, which says what they are of."""
        return self._objective.inputs(self.pieces(micro_batch)) | {"micro_batch": micro_batch}


def length_at(step: int, stages: Sequence[tuple[int, int]]) -> int:
    """Length of the sequences of step `step`, counted from 0; `stages` are (first step, length), ascending."""
    return next(length for first, length in reversed(stages) if first <= step)
