"""Who reads what: the same sequences in every step for any number of processes."""

import numpy as np
import pytest
import torch

from lmeff.clock import Clock
from lmeff.tokens import PermutationOrder
from lmeff.training.data.loader import StepBatches, train_loader
from lmeff.training.data.sequences import MicroBatch


def batches(rank: int, world_size: int, micro_batch: int, first_step: int = 0) -> StepBatches:
    order = PermutationOrder(num_sequences=43, seed=5, clock=Clock(32, 4))
    return StepBatches(order, [(0, 16)], micro_batch, rank, world_size, num_steps=20, first_step=lambda: first_step)


def steps_of(world_size: int, micro_batch: int, first_step: int = 0) -> list[list[int]]:
    """The sequences of every step in the order of accumulation and rank."""
    ranks = [list(batches(rank, world_size, micro_batch, first_step)) for rank in range(world_size)]
    turns = [micro_batch for turn in zip(*ranks, strict=True) for micro_batch in turn]
    places = [(one.step, one.first_slot + place) for one in turns for place in range(len(one.sequence_ids))]
    assert places == [(step, slot) for step in range(first_step, 20) for slot in range(8)]
    return np.array([one.sequence_ids for one in turns]).reshape(-1, 8).tolist()


@pytest.mark.parametrize(("world_size", "micro_batch"), [(1, 1), (2, 1), (2, 4), (4, 2), (8, 1)])
def test_steps_do_not_depend_on_the_processes(world_size: int, micro_batch: int) -> None:
    assert steps_of(world_size, micro_batch) == steps_of(1, 8)


def test_going_on_at_a_step_reads_what_would_have_come() -> None:
    """Step 9 lies in the second epoch of 43 sequences, step 16 in the third."""
    for step in (1, 9, 16):
        assert steps_of(2, 2, step) == steps_of(2, 2)[step:]


def test_every_epoch_reads_every_sequence_once() -> None:
    stream = [sequence for step in steps_of(1, 8) for sequence in step]
    for epoch in range(3):
        assert sorted(stream[epoch * 43 : (epoch + 1) * 43]) == list(range(43))


def test_the_length_is_that_of_the_run() -> None:
    assert len(batches(0, 2, 2)) == len(list(batches(0, 2, 2))) == 40


def test_starting_the_loader_draws_nothing_from_the_global_random_state() -> None:
    class Ids(torch.utils.data.Dataset):
        def __getitems__(self, micro_batch: MicroBatch) -> list[int]:
            return micro_batch.sequence_ids

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert next(iter(train_loader(Ids(), batches(0, 1, 8)))) == steps_of(1, 8)[0]
    assert torch.equal(torch.get_rng_state(), before)
