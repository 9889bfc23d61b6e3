"""The order of sequences is a pure function of seed and position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.clock import Clock
from lmeff.tokens import PermutationOrder
from lmeff.tokens.order import DataOrder, SampleOrder
from lmeff.tokens.permutations import _keys, in_order_of, permutation


def test_every_epoch_is_a_full_permutation_and_another_one() -> None:
    orders = [permutation(1000, seed=0, epoch=epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1000))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], permutation(1000, seed=1, epoch=0))


def test_the_order_is_pinned() -> None:
    """A change here would give every published recipe other data."""
    assert permutation(10, seed=0, epoch=0).tolist() == [0, 7, 8, 2, 5, 9, 4, 6, 3, 1]
    assert permutation(10, seed=1, epoch=7).tolist() == [9, 3, 5, 6, 2, 0, 1, 4, 7, 8]
    assert SampleOrder(7, 3).sequence_ids(5, 4).tolist() == [
        *permutation(7, 3, 0)[5:].tolist(),
        *permutation(7, 3, 1)[:2].tolist(),
    ]


@pytest.mark.medium
@given(st.integers(1, 50), st.integers(0, 200), st.integers(1, 120))
def test_any_cut_of_the_stream_reads_the_same(num_sequences: int, first: int, count: int) -> None:
    whole = SampleOrder(num_sequences, 5).sequence_ids(0, first + count)
    assert np.array_equal(SampleOrder(num_sequences, 5).sequence_ids(first, count), whole[first:])


def test_positions_do_not_predict_ids() -> None:
    order = permutation(20_000, seed=0, epoch=0)
    assert abs(np.corrcoef(np.arange(20_000), order)[0, 1]) < 0.03
    assert abs(np.corrcoef(order, permutation(20_000, seed=0, epoch=1))[0, 1]) < 0.03


def test_the_order_is_that_of_the_keys() -> None:
    """Also where the upper bits of keys are equal, which 300,000 of 46 bits hardly are: here only 8 bits are compared first."""
    for num_sequences in (1, 2, 3, 1_000, 300_000):
        keys = _keys(num_sequences, seed=3, epoch=2)
        assert np.array_equal(permutation(num_sequences, seed=3, epoch=2), np.argsort(keys, kind="stable"))
        coarse = (keys >> np.uint64(56) << np.uint64(56)) | np.arange(num_sequences, dtype=np.uint64)[::-1]
        assert np.array_equal(in_order_of(coarse), np.argsort(coarse, kind="stable"))


def test_a_step_reads_its_part_of_the_stream() -> None:
    order = PermutationOrder(7, 3, Clock(12, 4))
    steps = np.concatenate([order.sequences(step) for step in range(9)])
    assert steps.tolist() == SampleOrder(7, 3).sequence_ids(0, 27).tolist()


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (0, 1), (2, 3), (1, 12), (5, 30)])
def test_totals_are_those_of_the_sequences_that_are_read(begin: int, end: int) -> None:
    """Whole epochs are not looked at one by one."""
    order, numbers = PermutationOrder(7, 3, Clock(12, 4)), np.arange(7) ** 2
    assert order.total(numbers, begin, end) == DataOrder.total(order, numbers, begin, end)


def test_fingerprints_differ_where_orders_do() -> None:
    settings = [(7, 3, Clock(12, 4)), (8, 3, Clock(12, 4)), (7, 4, Clock(12, 4)), (7, 3, Clock(16, 4))]
    prints = [PermutationOrder(*one).fingerprint for one in settings]
    assert len(set(prints)) == 4
    assert PermutationOrder(*settings[0]).fingerprint == prints[0]
    assert PermutationOrder(7, 3, Clock(24, 8)).fingerprint == prints[0], "the length of a sequence changes no order"
