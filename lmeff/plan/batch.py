"""How the global batch is divided among processes, and a process's share into micro-batches."""

import math

from lmeff.errors import InputError
from lmeff.recipe.schema import Recipe

_CPU_MICRO_TOKENS = 4_096
_CPU_LOGITS_BYTES = 1 << 28


def sequences_per_rank(recipe: Recipe, world_size: int) -> int:
    """Sequences of one step that one process takes. Raises InputError naming the batches that divide."""
    sequences, length = recipe.batch.clock.sequences_per_step, recipe.batch.sequence_length
    if sequences % world_size:
        below = sequences // world_size * world_size
        sizes = [str(count * length) for count in (below, below + world_size) if count]
        raise InputError(
            f"batch.tokens: {recipe.batch.tokens} is {sequences} sequences of {length}, which do not divide among"
            f" {world_size} processes; batch.tokens that do: {' or '.join(sizes)}"
        )
    return sequences // world_size


def micro_batches(recipe: Recipe, world_size: int) -> list[int]:
    """All micro-batches that divide a process's share of the step, ascending."""
    return _divisors(sequences_per_rank(recipe, world_size))


def split_batch(recipe: Recipe, world_size: int, micro_batch: int | None = None) -> tuple[int, int]:
    """(sequences that a process takes at once, accumulation steps).

    With `batch.micro: auto` the first is the largest divisor of a process's share that is at most `micro_batch`; if that is
    None, that has at most 4,096 tokens and 256 MiB of logits, which suits a CPU. Raises InputError when the global batch cannot
    be divided.
    """
    share = sequences_per_rank(recipe, world_size)
    length = recipe.batch.sequence_length
    if recipe.batch.micro != "auto":
        if share % recipe.batch.micro:
            fitting = ", ".join(map(str, _divisors(share)))
            raise InputError(
                f"batch.micro: {recipe.batch.micro} does not divide the {share} sequences of a process; {fitting} do"
            )
        micro_batch = recipe.batch.micro
    else:
        limit = micro_batch or min(_CPU_MICRO_TOKENS, _CPU_LOGITS_BYTES // (4 * recipe.model_vocab_size)) // length
        micro_batch = max(divisor for divisor in _divisors(share) if divisor <= max(1, limit))
    return micro_batch, share // micro_batch


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
