"""`model:` of the family `xlnet`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount
from lmeff.recipe.sections.model.section import FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName


class XLNetSection(Model):
    # `10m` is TinyHelen's, beside its llama-10M. The others have width, depth and heads of Llama's, and as many weights in a
    # layer, of which relative positions take a matrix.
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "10m": {"hidden_size": 376, "d_inner": 1504, "num_hidden_layers": 8, "num_attention_heads": 8},
        "20m": {"hidden_size": 384, "d_inner": 960, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "d_inner": 1280, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "d_inner": 2304, "num_hidden_layers": 24, "num_attention_heads": 12},
    }
    shape_fields: ClassVar[tuple[str, ...]] = ("hidden_size", "d_inner", "num_hidden_layers", "num_attention_heads")
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("permutation",)
    gradient_checkpointing: ClassVar[bool] = False
    leaves_parameters_unused: ClassVar[bool] = True
    """Without segments there is no gradient for `seg_embed` and `r_s_bias`."""
    feed_forward: ClassVar[str | None] = "d_inner"

    family: FamilyName = "xlnet"
    """Architecture."""
    size: str | None = None
    """A named size (10m, 20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    d_inner: PositiveCount | None = None
    """Width of the feed-forward network."""
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    layer_norm_eps: Annotated[Number, Field(gt=0)] = 1e-12
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights."""
    dropout: Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED] = 0.0
    """Dropout of embeddings, positions, attention weights, and of what attention and feed-forward network put out."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        yield from self.head_contradictions()
        width = self.shape().get("hidden_size")
        if width and width % 2:
            yield "hidden_size", f"{width} is odd; positions are sines and cosines, half of it each"
