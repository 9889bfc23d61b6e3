"""Batches straight from the token shards, in an order that depends on seed and step alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lmeff.models.device import choose_device
from lmeff.tokens import DataOrder
from lmeff.training.data.sequences import MicroBatch, length_at


@dataclass(frozen=True)
class StepBatches(Sampler[MicroBatch]):
    """Micro-batches of one process: step by step, and within a step by accumulation, then by rank.

    The sequences of a step are the same for any number of processes; only who reads which of them changes.
    """

    order: DataOrder
    stages: Sequence[tuple[int, int]]
    """First step and length of its sequences, ascending."""
    micro_batch: int
    """Sequences at once."""
    rank: int
    world_size: int
    num_steps: int
    first_step: Callable[[], int]
    """Asked when iteration begins: the step to go on from."""

    def __len__(self) -> int:
        return self.order.clock.sequences_at(self.num_steps) // (self.micro_batch * self.world_size)

    def of_step(self, step: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of one step."""
        turns = self.order.sequences(step).reshape(-1, self.world_size, self.micro_batch)
        length = length_at(step, self.stages)
        for turn, ids in enumerate(turns[:, self.rank]):
            slot = (turn * self.world_size + self.rank) * self.micro_batch
            yield MicroBatch(ids.tolist(), length, step, slot)

    def __iter__(self) -> Iterator[MicroBatch]:
        for step in range(self.first_step(), self.num_steps):
            yield from self.of_step(step)


def train_loader(dataset: Dataset, batches: Sampler) -> DataLoader:
    """A loader that must not be passed to `accelerator.prepare`, which would shard it a second time.

    It has a generator of its own, so that starting it draws nothing from the global random state.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),
        pin_memory=choose_device().type == "cuda",
    )
