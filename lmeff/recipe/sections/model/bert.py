"""`model:` of the family `bert`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount
from lmeff.recipe.sections.model.section import DocumentMask, FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName


class BertSection(Model):
    # `10m` is TinyHelen's, beside its llama-10M. The others have width, depth and heads of Llama's, and as many weights in a
    # layer: without a gate, the feed-forward network is half as wide again.
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "10m": {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8},
        "20m": {"hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "intermediate_size": 2688, "num_hidden_layers": 24, "num_attention_heads": 12},
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

    family: FamilyName = "bert"
    """Architecture."""
    size: str | None = None
    """A named size (10m, 20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    intermediate_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`."""
    layer_norm_eps: Annotated[Number, Field(gt=0)] = 1e-12
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights."""
    hidden_dropout_prob: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    """Dropout of the embeddings and of the outputs of attention and feed-forward network."""
    attention_probs_dropout_prob: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    """Dropout of the attention weights."""

    @property
    def longest_sequence(self) -> int | None:
        return self.max_position_embeddings

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        yield from self.head_contradictions()
