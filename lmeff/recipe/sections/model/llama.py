"""`model:` of the family `llama`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount
from lmeff.recipe.sections.model.section import DocumentMask, FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName

Sizes = Mapping[str, Mapping[str, int | float | bool]]


def _shape(width: int, inner: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


_TINYHELEN: Sizes = {
    "1m": {**_shape(128, 512, 4, 4), "rope_theta": 5e5, "rms_norm_eps": 1e-5},
    "10m": {**_shape(336, 1344, 8, 8), "rope_theta": 5e5, "rms_norm_eps": 1e-5},
}
"""Yang et al. 2025; named by the parameters of the layers, of which `10m` has 14.5M."""
_BABYLLAMA: Sizes = {
    "16m": _shape(256, 1024, 8, 8),
    "58m": _shape(512, 1024, 16, 8),
    "95m": _shape(768, 2048, 10, 12),
    "97m": {**_shape(768, 2048, 12, 12), "tie_word_embeddings": True},
    "360m": _shape(1024, 3072, 24, 8),
}
"""Timiryasov and Tastet 2023; named by all parameters with 16,000 entries. `58m` is the student, and has the shape of `60m`."""


class LlamaSection(Model):
    # The names are those of the published collection. Counts depend on the vocabulary: `20m` has 15M parameters with 8,192
    # entries and 47M with 50,257.
    sizes: ClassVar[Sizes] = {
        "20m": {"hidden_size": 384, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "intermediate_size": 1792, "num_hidden_layers": 24, "num_attention_heads": 12},
        **_TINYHELEN,
        **_BABYLLAMA,
    }
    shape_fields: ClassVar[tuple[str, ...]] = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    )
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("causal", "hybrid")
    document_mask: ClassVar[DocumentMask] = "positions"
    liger_kernels: ClassVar[tuple[str, ...]] = (
        "rope",
        "cross_entropy",
        "fused_linear_cross_entropy",
        "rms_norm",
        "swiglu",
    )
    feed_forward: ClassVar[str | None] = "intermediate_size"
    usual_factor: ClassVar[float] = 8 / 3

    family: FamilyName = "llama"
    """Architecture."""
    size: str | None = None
    """A named size (20m, 60m, 180m; 1m, 10m; 16m, 58m, 95m, 97m, 360m); any field below overrides it."""
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

    @property
    def longest_sequence(self) -> int | None:
        return self.max_position_embeddings

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        yield from self.head_contradictions()  # which transformers refuses with any head_dim
        heads, groups = self.num_attention_heads, self.num_key_value_heads
        if heads and groups and heads % groups:
            yield "num_key_value_heads", f"{groups} does not divide num_attention_heads ({heads})"
