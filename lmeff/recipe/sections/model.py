"""`model:` the architecture and its shape."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section

_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


class Model(Section):
    on_resume: ClassVar[OnResume] = OnResume.FIXED

    family: Literal["llama"] = "llama"
    """Architecture."""
    size: str | None = None
    """A named size (20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    intermediate_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    num_key_value_heads: PositiveCount | None = None
    """Heads for keys and values. Default: as many as `num_attention_heads`."""
    head_dim: PositiveCount | None = None
    """Default: `hidden_size / num_attention_heads`."""
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`."""
    tie_word_embeddings: bool = False
    """Share the input and the output embedding."""
    rope_theta: Annotated[Number, Field(gt=0)] = 10_000.0
    """Base of the rotary position embedding."""
    rms_norm_eps: Annotated[Number, Field(gt=0)] = 1e-6
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights."""
    attention_dropout: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.size is None and (missing := [key for key in _SHAPE if getattr(self, key) is None]):
            yield "", f"give a 'size' (20m, 60m, 180m), or also {', '.join(missing)}"
        width, heads, groups = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        if width and heads and width % heads and self.head_dim is None:
            text = f"{width} is not a multiple of num_attention_heads ({heads}); change one, or give 'head_dim'"
            yield "hidden_size", text
        if heads and groups and heads % groups:
            yield "num_key_value_heads", f"{groups} does not divide num_attention_heads ({heads})"
