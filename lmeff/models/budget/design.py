"""What `model.budget` asks for and what it leads to: a shape. Every recipe needs this: no numpy, as in `search.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmeff.recipe.sections.model import Model


@dataclass(frozen=True)
class Design:
    """A shape."""

    fields: Mapping[str, int]
    """Of `model:`, all that decide the shape."""
    total: int
    embedding: int
    factor: float | None
    """Feed-forward width as a multiple of `hidden_size`; None for a family without one."""
    is_tied: bool
    """Whether input and output share their embedding."""
    rank: tuple[float, ...]
    """Smaller is nearer to what is asked."""

    @property
    def share(self) -> float:
        return self.embedding / self.total

    def describe(self, parameters: int) -> str:
        """Such as `hidden_size 216, ...: 9,993,240 parameters (-0.07%), embedding_share 0.346, glu_factor 2.556`."""
        shape = ", ".join(f"{name} {value}" for name, value in self.fields.items())
        factor = "" if self.factor is None else f", glu_factor {self.factor:.3f}"
        deviation = f"{self.total / parameters - 1:+.2%}"
        return f"{shape}: {self.total:,} parameters ({deviation}), embedding_share {self.share:.3f}{factor}"


def is_open(model: Model) -> bool:
    """Whether a budget has fields of the shape to find."""
    return model.budget is not None and len(said_fields(model)) < len(solved_fields(model))


def said_fields(model: Model) -> dict[str, int]:
    """The fields that a budget would decide and that a recipe gives itself."""
    said = model.model_fields_set
    return {name: value for name in solved_fields(model) if name in said and (value := getattr(model, name))}


def solved_fields(model: Model) -> list[str]:
    """Fields that a budget decides where the recipe does not say them; the last one divides the width into heads."""
    heads = "num_attention_heads" if "num_attention_heads" in type(model).model_fields else "head_dim"
    return ["hidden_size", *([model.feed_forward] if model.feed_forward else []), "num_hidden_layers", heads]
