"""Batches straight from the token shards, in an order that depends on seed and step alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lmeff.clock import Clock
from lmeff.tokens import SampleOrder, Tokens


class PackedSequences(Dataset):
    """Full blocks of the training stream. Fetches a whole batch with one gather."""

    def __init__(self, tokens: Tokens, sequence_length: int) -> None:
        self._stream = tokens.train
        self._length = sequence_length

    def __len__(self) -> int:
        return self._stream.num_tokens // self._length

    def __getitems__(self, sequence_ids: list[int]) -> dict[str, torch.Tensor]:
        """`input_ids` and `labels`, both (batch, sequence) int64; the first position is never predicted. `sequence_ids`,
        (batch,), says which they are."""
        input_ids = torch.from_numpy(self._stream.blocks(np.asarray(sequence_ids), self._length))
        labels = input_ids.clone()
        labels[:, 0] = -100
        return {"input_ids": input_ids, "labels": labels, "sequence_ids": torch.tensor(sequence_ids)}


@dataclass(frozen=True)
class StepBatches(Sampler[list[int]]):
    """Micro-batches of one process: step by step, and within a step by accumulation, then by rank.

    The sequences of a step are the same for any number of processes; only who reads which of them changes.
    """

    order: SampleOrder
    clock: Clock
    micro_batch: int
    rank: int
    world_size: int
    num_steps: int
    first_step: Callable[[], int]
    """Asked when iteration begins: the step to go on from."""

    def __len__(self) -> int:
        return self.clock.sequences_at(self.num_steps) // (self.micro_batch * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step(), self.num_steps):
            sequence_ids = self.order.sequence_ids(self.clock.sequences_at(step), self.clock.sequences_per_step)
            slots = sequence_ids.reshape(-1, self.world_size, self.micro_batch)
            for ids in slots[:, self.rank]:
                yield ids.tolist()


def train_loader(dataset: Dataset, batches: Sampler) -> DataLoader:
    """A loader that must not be passed to `accelerator.prepare`, which would shard it a second time.

    It has a generator of its own, so that starting it draws nothing from the global random state.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )
