"""Sequences of the training text: blocks of the stream or packed by best fit, whole or cut shorter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lmeff.objectives import Objective, Pieces
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import BOS_ID, Tokens
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


class TrainSequences(Dataset):
    """All sequences of the training text, as inputs of an objective. Fetches a whole micro-batch at once."""

    def __init__(self, tokens: Tokens, batch: Batch, objective: Objective) -> None:
        self._stream, self._batch, self._objective = tokens.train, batch, objective
        self._packing = prepare_packing(tokens, batch.sequence_length) if batch.packing == "best_fit" else None

    def __len__(self) -> int:
        if self._packing is not None:
            return self._packing.num_sequences
        return self._stream.num_tokens // self._batch.sequence_length

    def _read(self, sequence_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(batch, sequence) each: the ids, and where a document, a later piece of one or the padding begins."""
        if self._packing is not None:
            return self._packing.read(self._stream, sequence_ids)
        input_ids = self._stream.blocks(sequence_ids, self._batch.sequence_length)
        return input_ids, input_ids == BOS_ID

    def pieces(self, micro_batch: MicroBatch) -> Pieces:
        """The micro-batch as text, the pieces of a sequence one after the other. A sequence that is cut has a slot for each of
        its pieces."""
        whole, begins = self._read(np.asarray(micro_batch.sequence_ids))
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
