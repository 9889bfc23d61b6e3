"""`model:` of the family `gptj`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, PositiveCount
from lmeff.recipe.sections.model.gpt2 import Activation, Dropout
from lmeff.recipe.sections.model.section import DocumentMask, FamilyName, Model


class GptjSection(Model):
    # 20m, 60m and 180m are GPT-2's of that name. 97m is BabyLlama's (Timiryasov and Tastet 2023), with tied embeddings.
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "20m": {"hidden_size": 384, "n_inner": 1152, "num_hidden_layers": 6, "num_attention_heads": 6},
        "60m": {"hidden_size": 512, "n_inner": 1536, "num_hidden_layers": 16, "num_attention_heads": 8},
        "180m": {"hidden_size": 768, "n_inner": 2688, "num_hidden_layers": 24, "num_attention_heads": 12},
        "97m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "tie_word_embeddings": True},
    }
    shape_fields: ClassVar[tuple[str, ...]] = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    document_mask: ClassVar[DocumentMask] = "positions"
    feed_forward: ClassVar[str | None] = "n_inner"

    family: FamilyName = "gptj"
    size: str | None = None
    """A named size (20m, 60m, 180m, 97m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    n_inner: PositiveCount | None = None
    """Width of the feed-forward network. Default: `4 * hidden_size`."""
    rotary_dim: PositiveCount | None = None
    """Dimensions of a head that rotary positions turn, in pairs. Default: all of a head, at most 64."""
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`. There are no positions beyond."""
    activation_function: Activation = "gelu_new"
    """Of the feed-forward network."""
    tie_word_embeddings: bool = False
    """Share the input and the output embedding. The output has a bias of its own in any case."""
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
        shape = self.shape()
        width, heads = shape.get("hidden_size"), shape.get("num_attention_heads")
        if not width or not heads or width % heads:
            return
        head_dim = width // heads
        rotary_dim = shape.get("rotary_dim", min(64, head_dim))
        if rotary_dim > head_dim:
            text = f"a head has {head_dim} dimensions (hidden_size / num_attention_heads), not {rotary_dim}"
            yield "rotary_dim", text
        elif rotary_dim % 2 and "rotary_dim" in shape:
            yield "rotary_dim", f"{rotary_dim} is odd; rotary positions turn dimensions in pairs"
        elif rotary_dim % 2:
            text = (
                f"{width} in {heads} heads leaves {head_dim} dimensions, an odd number, and rotary positions turn pairs"
            )
            yield "hidden_size", f"{text}; give 'rotary_dim'"
