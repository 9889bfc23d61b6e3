"""`model:` of the family `gpt2`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount
from lmeff.recipe.sections.model.section import DocumentMask, FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName

Dropout = Annotated[Number, Field(ge=0, lt=1), OnResume.ACCEPTED]
Activation = Literal["gelu_new", "gelu", "gelu_pytorch_tanh", "relu", "silu"]


class Gpt2Section(Model):
    # 20m, 60m and 180m have Llama's width, layers and heads of that name, and feed-forward networks that make the matrices of
    # their layers the same number of parameters. 97m and 705m are BabyLlama's (Timiryasov and Tastet 2023).
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "20m": {"hidden_size": 384, "n_inner": 1152, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "n_inner": 1536, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "n_inner": 2688, "num_hidden_layers": 24, "num_attention_heads": 12},
        "97m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        "705m": {"hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 16},
    }
    shape_fields: ClassVar[tuple[str, ...]] = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("causal", "hybrid")
    document_mask: ClassVar[DocumentMask] = "positions"
    feed_forward: ClassVar[str | None] = "n_inner"

    family: FamilyName = "gpt2"
    size: str | None = None
    """A named size (20m, 60m, 180m, 97m, 705m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    n_inner: PositiveCount | None = None
    """Width of the feed-forward network. Default: `4 * hidden_size`."""
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`. Positions are learned: a text longer than this has none."""
    activation_function: Activation = "gelu_new"
    """Of the feed-forward network."""
    tie_word_embeddings: bool = True
    """Share the input and the output embedding."""
    layer_norm_epsilon: Annotated[Number, Field(gt=0)] = 1e-5
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    attn_pdrop: Dropout = 0.0
    """Dropout of attention weights."""
    resid_pdrop: Dropout = 0.0
    """Dropout of what attention and the feed-forward network add."""
    embd_pdrop: Dropout = 0.0
    """Dropout of the embeddings."""

    @property
    def longest_sequence(self) -> int | None:
        return self.max_position_embeddings

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        yield from self.head_contradictions()
