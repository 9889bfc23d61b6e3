"""`batch:` how much text a step reads, and how it is cut into sequences."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lmeff.clock import Clock
from lmeff.quantities import format_count, parse_count
from lmeff.recipe.sections.fields import OnResume, PositiveCount, Section


class Batch(Section):
    tokens: Annotated[PositiveCount, OnResume.FIXED]
    """Tokens of one optimizer step over all devices. The number of devices never changes it."""
    sequence_length: Annotated[PositiveCount, Field(ge=2), OnResume.FIXED] = 256
    """Tokens of one packed sequence."""
    packing: Annotated[Literal["concatenate", "best_fit"], OnResume.FIXED] = "concatenate"
    """`concatenate`: sequences are blocks of the text, one document after the other. `best_fit` (Ding et al. 2024): only a
    document longer than a sequence is cut; what a sequence has left is padding, which counts as tokens and has no loss."""
    document_mask: bool = False
    """Attention and positions do not cross from one document of a sequence to the next, in training and on held-out text, and
    no `<s>` is predicted."""
    sequence_lengths: Annotated[dict[str, Annotated[PositiveCount, Field(ge=2)]] | None, OnResume.FIXED] = None
    """Shorter sequences at first: training tokens and the length from there on, such as `{0: 64, 5M: 128, 20M: 256}`. Sequences
    are cut into pieces; lengths divide `sequence_length` and rise to it. Tokens of a step stay the same. Given
    again, it replaces that of a base recipe."""
    micro: Annotated[Literal["auto"] | PositiveCount, OnResume.FREE] = "auto"
    """Sequences one device takes at once; accumulation follows. `auto` picks it."""
    log_samples: Annotated[bool, OnResume.FREE] = False
    """Write into `samples.jsonl` which sequences each step read."""

    @property
    def clock(self) -> Clock:
        """What a step is in tokens and sequences."""
        return Clock(self.tokens, self.sequence_length)

    @property
    def is_plain(self) -> bool:
        """Whether sequences are blocks of the text and nothing else."""
        return self.packing == "concatenate" and not self.document_mask and self.sequence_lengths is None

    def length_stages(self) -> list[tuple[int, int]]:
        """(first step, counted from 0, and length of its sequences), ascending; the first is step 0."""
        return _stages(self.sequence_lengths or {"0": self.sequence_length}, self.clock)

    @field_validator("sequence_lengths")
    @classmethod
    def _spelled_alike(cls, lengths: dict[str, int] | None) -> dict[str, int] | None:
        return None if lengths is None else by_tokens(lengths)

    @model_validator(mode="after")
    def _whole_sequences(self) -> "Batch":
        if self.tokens % self.sequence_length:
            near = max(1, round(self.tokens / self.sequence_length)) * self.sequence_length
            raise ValueError(
                f"tokens {self.tokens} is not a multiple of sequence_length ({self.sequence_length}); nearest: {near}"
            )
        if self.sequence_lengths is not None:
            _check_lengths(self.sequence_lengths, self.clock)
        return self


def by_tokens(lengths: Mapping[str, int]) -> dict[str, int]:
    """`sequence_lengths` in ascending order, with every number of tokens written in one way. Raises ValueError for a key that
    is no number of tokens, and for two that are the same number."""
    by_number: dict[int, int] = {}
    for key, length in lengths.items():
        try:
            tokens = parse_count(key)
            if tokens < 0:
                raise ValueError("it is below 0")
        except ValueError as error:
            raise ValueError(f"has a key that is no number of tokens: {error}") from None
        if tokens in by_number:
            raise ValueError(f"says the length from {format_count(tokens)} tokens on twice; drop one")
        by_number[tokens] = length
    return {format_count(tokens): by_number[tokens] for tokens in sorted(by_number)}


def _stages(lengths: Mapping[str, int], clock: Clock) -> list[tuple[int, int]]:
    """(first step, counted from 0, and length from there on), ascending. A length begins with the first step before which at
    least its number of tokens was consumed."""
    return sorted((clock.step_of(parse_count(tokens)), length) for tokens, length in lengths.items())


def _check_lengths(lengths: Mapping[str, int], clock: Clock) -> None:
    """Raises ValueError, naming the key first, unless lengths divide `sequence_length` and rise to it from token 0 on."""
    sequence_length = clock.sequence_length
    if 0 not in map(parse_count, lengths):
        raise ValueError("sequence_lengths must say the length from token 0 on, such as {0: 64, 5M: 128, 20M: 256}")
    stages = _stages(lengths, clock)
    for (step, length), (next_step, next_length) in pairwise(stages):
        if step == next_step:
            raise ValueError(
                f"sequence_lengths change twice at step {step}, with tokens {clock.batch_tokens}; drop one"
            )
        if next_length <= length:
            raise ValueError(f"sequence_lengths must rise with the tokens: {next_length} follows {length}")
    if wrong := [length for _, length in stages if sequence_length % length]:
        raise ValueError(f"sequence_lengths has {wrong[0]}, which does not divide sequence_length ({sequence_length})")
    if stages[-1][1] != sequence_length:
        raise ValueError(f"sequence_lengths must end at sequence_length ({sequence_length}), not at {stages[-1][1]}")
