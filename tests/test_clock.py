"""Steps to tokens and back, against a loop that trains step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.clock import Clock

CLOCKS = st.builds(lambda length, sequences: Clock(length * sequences, length), st.integers(1, 64), st.integers(1, 64))


@given(CLOCKS, st.integers(0, 200))
def test_tokens_and_sequences_are_those_of_a_loop_over_steps(clock: Clock, num_steps: int) -> None:
    tokens = sequences = 0
    for step in range(num_steps):
        assert (clock.tokens_at(step), clock.sequences_at(step)) == (tokens, sequences)
        for _ in range(clock.sequences_per_step):
            tokens += clock.sequence_length
            sequences += 1
    assert (clock.tokens_at(num_steps), clock.sequences_at(num_steps)) == (tokens, sequences)


@given(CLOCKS, st.integers(0, 10_000))
def test_the_step_of_an_anchor_is_the_first_that_reaches_it(clock: Clock, num_tokens: int) -> None:
    step = consumed = 0
    while consumed < num_tokens:
        step, consumed = step + 1, consumed + clock.batch_tokens
    assert clock.step_of(num_tokens) == step


@given(st.integers(0, 10**18), st.integers(1, 10**7))
def test_numbers_beyond_floats_are_exact(num_tokens: int, batch_tokens: int) -> None:
    clock = Clock(batch_tokens, batch_tokens)
    step = clock.step_of(num_tokens)
    assert clock.tokens_at(step) >= num_tokens
    assert step == 0 or clock.tokens_at(step - 1) < num_tokens
    assert clock.step_of(clock.tokens_at(step)) == step


def test_an_epoch_is_the_sequences_that_the_text_fills() -> None:
    clock = Clock(32, 16)
    assert clock.epochs_at(0, 100) == 0
    assert clock.epochs_at(3, 100) == clock.epochs_at(3, 96) == 1
    assert clock.epochs_at(3, 95) == 96 / 80
    with pytest.raises(ValueError, match="15 tokens are less than one sequence of 16"):
        clock.epochs_at(1, 15)


@pytest.mark.parametrize(("batch_tokens", "sequence_length"), [(100, 64), (32, 64), (0, 64), (64, 0), (-64, 64)])
def test_a_step_is_whole_sequences(batch_tokens: int, sequence_length: int) -> None:
    with pytest.raises(ValueError, match="does not consist of whole sequences"):
        Clock(batch_tokens, sequence_length)


def test_there_is_nothing_before_the_start() -> None:
    clock = Clock(64, 32)
    with pytest.raises(ValueError, match="step is -1"):
        clock.tokens_at(-1)
    with pytest.raises(ValueError, match="step is -2"):
        clock.sequences_at(-2)
    with pytest.raises(ValueError, match="num_tokens is -3"):
        clock.step_of(-3)
