"""`model:` of the family `modernbert`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount
from lmeff.recipe.sections.model.section import DocumentMask, FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName


class ModernBertSection(Model):
    # The shapes of Llama's, layer by layer: both have a gate in the feed-forward network.
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "20m": {"hidden_size": 384, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "intermediate_size": 1792, "num_hidden_layers": 24, "num_attention_heads": 12},
    }
    shape_fields: ClassVar[tuple[str, ...]] = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    )
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("masked",)
    document_mask: ClassVar[DocumentMask] = "attention_mask"
    feed_forward: ClassVar[str | None] = "intermediate_size"
    usual_factor: ClassVar[float] = 8 / 3

    family: FamilyName = "modernbert"
    """Architecture."""
    size: str | None = None
    """A named size (20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    intermediate_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`."""
    global_attn_every_n_layers: PositiveCount = 3
    """The first of so many layers sees the whole sequence, the others `local_attention` tokens."""
    local_attention: Annotated[PositiveCount, Field(ge=2)] = 128
    """Tokens that a local layer looks at beside the own one: half of them before it, half after it."""
    global_rope_theta: Annotated[Number, Field(gt=0)] = 160_000.0
    """Base of the rotary position embedding in layers that see the whole sequence."""
    local_rope_theta: Annotated[Number, Field(gt=0)] = 10_000.0
    """Base of the rotary position embedding in local layers."""
    norm_eps: Annotated[Number, Field(gt=0)] = 1e-5
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights."""
    embedding_dropout: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    attention_dropout: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    """Dropout of the attention weights, and of what attention puts out."""
    mlp_dropout: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    """Dropout within the feed-forward network."""

    @property
    def attention_window(self) -> int | None:
        return self.local_attention // 2

    @property
    def longest_sequence(self) -> int | None:
        return self.max_position_embeddings

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        yield from self.head_contradictions()
        shape = self.shape()
        width, heads = shape.get("hidden_size"), shape.get("num_attention_heads")
        if width and heads and width % heads == 0 and width // heads % 2:
            each = f"{width} over {heads} heads is {width // heads} each"
            yield "hidden_size", f"{each}, which is odd; rotary positions turn dimensions in pairs"
        if self.local_attention % 2:
            text = f"{self.local_attention} is odd; a local layer sees as many tokens before as after"
            yield "local_attention", text
