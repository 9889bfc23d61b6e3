"""`model:` of the family `mamba2`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, PositiveCount
from lmeff.recipe.sections.model.section import FamilyName, Model


class Mamba2Section(Model):
    # 20m, 60m and 180m have Llama's width of that name and so many layers that they have about as many parameters without
    # embeddings. 8m has the width and the layers of TinyHelen's Mamba, but not the feed-forward network inside of its layers,
    # which no stock model has.
    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {
        "8m": {"hidden_size": 768, "num_hidden_layers": 2},
        "20m": {"hidden_size": 384, "num_hidden_layers": 9},
        "60m": {"hidden_size": 512, "num_hidden_layers": 24},
        "180m": {"hidden_size": 768, "num_hidden_layers": 41},
    }
    shape_fields: ClassVar[tuple[str, ...]] = ("hidden_size", "num_hidden_layers")

    family: FamilyName = "mamba2"
    size: str | None = None
    """A named size (8m, 20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    expand: PositiveCount = 2
    """Numbers that a layer computes with, as a multiple of `hidden_size`; they are divided among its heads."""
    head_dim: PositiveCount = 64
    num_heads: PositiveCount | None = None
    """Default: `expand * hidden_size / head_dim`, the only number that fits."""
    state_size: PositiveCount = 128
    """Numbers of the state for each of a head's dimensions."""
    n_groups: PositiveCount = 1
    """Groups of heads that write to and read from their states in one way; as groups of attention share keys and values."""
    conv_kernel: PositiveCount = 4
    """Tokens that the convolution before the scan sees."""
    chunk_size: PositiveCount | None = None
    """Tokens that are computed at once, as attention; between chunks the state goes on. It decides speed and memory, not what
    is computed. Default: 64, or `batch.sequence_length` where that is less."""
    tie_word_embeddings: bool = False
    """Share the input and the output embedding."""
    layer_norm_epsilon: Annotated[Number, Field(gt=0)] = 1e-5
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights of embeddings and input projections."""

    def head_choices(self, width: int) -> Iterator[dict[str, int]]:
        """Sizes of heads, 64 first: powers of two, which the scan's kernels are made for."""
        sizes = [self.head_dim] if "head_dim" in self.model_fields_set else [64, 32, 128, 16]
        yield from ({"head_dim": size} for size in sizes if self.expand * width % size == 0)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        width = self.shape().get("hidden_size")
        if not width:
            return
        inner = self.expand * width
        product = f"expand * hidden_size ({self.expand} * {width})"
        if inner % self.head_dim:
            yield "head_dim", f"{product} is not a multiple of {self.head_dim}"
            return
        heads = inner // self.head_dim
        if self.num_heads is not None and self.num_heads != heads:
            yield (
                "num_heads",
                f"{product} leaves {heads} heads of head_dim {self.head_dim}, not {self.num_heads}; leave it out",
            )
        elif heads % self.n_groups:
            yield "n_groups", f"{self.n_groups} does not divide the {heads} heads"
