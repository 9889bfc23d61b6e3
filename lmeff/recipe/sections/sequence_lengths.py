"""The lengths of a run's sequences, which may begin shorter than they end (`batch.sequence_lengths`)."""

from collections.abc import Mapping
from itertools import pairwise

from lmeff.clock import Clock
from lmeff.quantities import format_count, parse_count


def by_tokens(lengths: Mapping[str, int]) -> dict[str, int]:
    """The same, ascending and with every number of tokens written in one way. Raises ValueError for a key that is no number of
    tokens, and for two that are the same number."""
    found: dict[int, int] = {}
    for key, length in lengths.items():
        try:
            tokens = parse_count(key)
            if tokens < 0:
                raise ValueError("it is below 0")
        except ValueError as error:
            raise ValueError(f"has a key that is no number of tokens: {error}") from None
        if tokens in found:
            raise ValueError(f"says the length from {format_count(tokens)} tokens on twice; drop one")
        found[tokens] = length
    return {format_count(tokens): found[tokens] for tokens in sorted(found)}


def stages(lengths: Mapping[str, int], clock: Clock) -> list[tuple[int, int]]:
    """(first step, counted from 0, and length from there on), ascending. A length begins with the first step before which at
    least its number of tokens was consumed."""
    return sorted((clock.step_of(parse_count(tokens)), length) for tokens, length in lengths.items())


def check_lengths(lengths: Mapping[str, int], clock: Clock) -> None:
    """Raises ValueError, naming the key first, unless lengths divide `sequence_length` and rise to it from token 0 on."""
    sequence_length = clock.sequence_length
    if 0 not in map(parse_count, lengths):
        raise ValueError("sequence_lengths must say the length from token 0 on, such as {0: 64, 5M: 128, 20M: 256}")
    found = stages(lengths, clock)
    for (step, length), (next_step, next_length) in pairwise(found):
        if step == next_step:
            raise ValueError(
                f"sequence_lengths change twice at step {step}, with tokens {clock.batch_tokens}; drop one"
            )
        if next_length <= length:
            raise ValueError(f"sequence_lengths must rise with the tokens: {next_length} follows {length}")
    if wrong := [length for _, length in found if sequence_length % length]:
        raise ValueError(f"sequence_lengths has {wrong[0]}, which does not divide sequence_length ({sequence_length})")
    if found[-1][1] != sequence_length:
        raise ValueError(f"sequence_lengths must end at sequence_length ({sequence_length}), not at {found[-1][1]}")
