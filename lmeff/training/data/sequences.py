"""Sequences that are not just blocks of the stream: packed by best fit, cut shorter, or with documents kept apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lmeff.recipe.schema import Batch
from lmeff.tokens import BOS_ID, PAD_ID, Tokens
from lmeff.tokens.packing import prepare_packing
from lmeff.training.data.loader import PackedSequences, StepBatches


class Wanted(NamedTuple):
    """One micro-batch."""

    sequence_ids: list[int]
    length: int
    """Its sequences are cut to pieces of so many tokens."""


def position_ids(begins: np.ndarray) -> np.ndarray:
    """Positions that restart at 0 wherever something begins. `begins` is (batch, sequence) bool, with the first column True."""
    columns = np.arange(begins.shape[1])
    return columns - np.maximum.accumulate(np.where(begins, columns, 0), axis=1)


class DocumentSequences(Dataset):
    """Sequences of any packing. Fetches a whole micro-batch at once."""

    def __init__(self, tokens: Tokens, batch: Batch) -> None:
        self._stream, self._batch = tokens.train, batch
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

    def __getitems__(self, wanted: Wanted) -> dict[str, torch.Tensor | bool]:
        """`input_ids` and `labels`, both (pieces, length) int64, the pieces of a sequence one after the other; with
        `document_mask` also `position_ids`. `sequence_ids`, (batch,), says which sequences they are.

        There is no loss at the first position of a piece, at padding, and where what stands before a token in the sequence does
        not stand before it in the text: at a later piece of a document, and with `document_mask` at every `<s>`.
        """
        whole, begins = self._read(np.asarray(wanted.sequence_ids))
        input_ids, begins = whole.reshape(-1, wanted.length), begins.reshape(-1, wanted.length)
        begins[:, 0] = True
        unpredicted = begins if self._batch.document_mask else begins & (input_ids != BOS_ID)
        labels = np.where(unpredicted | (input_ids == PAD_ID), -100, input_ids)
        labels[:, 0] = -100
        found = {"input_ids": input_ids, "labels": labels, "sequence_ids": np.asarray(wanted.sequence_ids)}
        if not self._batch.document_mask:
            return {key: torch.from_numpy(value) for key, value in found.items()}
        found["position_ids"] = position_ids(begins)
        # transformers makes a mask from positions that restart when it gets no other mask and no cache; for flash attention it
        # does so only where a batch is a single row.
        return {key: torch.from_numpy(value) for key, value in found.items()} | {"use_cache": False}


@dataclass(frozen=True)
class CutBatches(Sampler[Wanted]):
    """The micro-batches of `batches`, each with the length that its step has."""

    batches: StepBatches
    batch: Batch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Wanted]:
        first, stages = self.batches.first_step(), self.batch.length_stages()
        per_step = len(self.batches) // self.batches.num_steps
        for index, sequence_ids in enumerate(self.batches):
            yield Wanted(sequence_ids, length_at(first + index // per_step, stages))


def length_at(step: int, stages: list[tuple[int, int]]) -> int:
    """Length of the sequences of step `step`, counted from 0."""
    return next(length for first, length in reversed(stages) if first <= step)


def train_sequences(tokens: Tokens, batch: Batch) -> PackedSequences | DocumentSequences:
    """What a recipe's steps read; blocks of the stream where nothing else is asked for."""
    return PackedSequences(tokens, batch.sequence_length) if batch.is_plain else DocumentSequences(tokens, batch)
