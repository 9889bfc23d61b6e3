"""What lmeff must know of an architecture. Imports no torch; methods that are given a model import what they need."""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from lmeff.errors import InputError
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import Model

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Parameters:
    """How many parameters a model has."""

    total: int
    embedding: int
    """Input and output embedding; one of them when they are tied."""
    non_embedding: int
    matmul: int
    """Parameters that a token is multiplied with: not those of norms, nor the input embedding, which is a lookup."""


@dataclass(frozen=True)
class Family(ABC):
    """A model of one family by its shape: what it costs, how transformers builds it, and how it is trained.

    A family is a subclass with the fields of its shape, registered in `lmeff/models/families/__init__.py`. What checks of
    recipes need (its keys, named sizes, objectives) stands in its section, in `lmeff/recipe/sections/model/`.
    """

    name: ClassVar[str]
    """In recipes."""
    model_type: ClassVar[str]
    """In transformers' configurations."""
    model_class: ClassVar[str]
    """Its class in transformers."""
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    """The class in transformers by which a user loads it."""
    title: ClassVar[str]
    """What the card calls it: an article and one model, such as `A Llama language model`."""
    plural: ClassVar[str]
    """The same for several: `Llama language models`."""
    looks_both_ways: ClassVar[bool] = False
    """Whether a token attends to later ones, too."""
    counted_causally: ClassVar[str] = "causal attention"
    """That of which `flops_per_token(causal=True)` counts half, in words that follow `counting`."""
    forward_formula: ClassVar[str] = "2 x matmul parameters + 4 x layers x width x length (PaLM)"
    """What `forward_flops_per_token` computes, in words."""
    is_asked_by_end: ClassVar[bool] = False
    """Whether a classifier goes by a token for the whole text that stands at the very end, in a segment of its own."""
    never_decayed: ClassVar[str | None] = None
    """Regular expression of parameters without weight decay, beside norms, biases and other vectors."""
    without_weight_decay: ClassVar[str] = "norms and biases"
    """What weight decay leaves out, in words."""
    counted_on: ClassVar[str | None] = None
    """What parameters and costs are counted on, in words, where it is not the shape alone."""
    is_tried: ClassVar[bool] = False
    """Whether a model must be tried before it is trained, since nobody has read how it is made."""
    layer: ClassVar[str] = r"\.layers\."
    """Regular expression that finds the parameters of layers."""

    hidden_size: int
    num_hidden_layers: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    vocab_size: int

    # ------------------------------------------------------------------ where a shape comes from

    @classmethod
    @abstractmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        """The recipe's model. Raises InputError for one that cannot be."""

    @classmethod
    @abstractmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        """The shape of any model of this architecture, also of one that was trained elsewhere."""

    # ------------------------------------------------------------------ costs

    @abstractmethod
    def count_parameters(self) -> Parameters:
        """Exact counts."""

    @property
    @abstractmethod
    def attention_width(self) -> int:
        """Numbers of a query over all heads of a layer; 0 without attention."""

    def flops_per_token(self, sequence_length: int, causal: bool = False) -> float:
        """Model FLOPs of one trained token, forward and backward, as in PaLM (Chowdhery et al. 2022, appendix B):
        6 x matmul parameters + 12 x layers x width x length. `causal` counts half of the attention, where that is causal."""
        attention = 12 * self.num_hidden_layers * self.attention_width * sequence_length
        is_half = causal and not self.looks_both_ways
        return 6 * self.count_parameters().matmul + (attention / 2 if is_half else attention)

    def forward_flops_per_token(self, sequence_length: int) -> float:
        """Of a forward pass that scores a text."""
        return self.flops_per_token(sequence_length) / 3

    @abstractmethod
    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Activations that the backward pass needs of `num_tokens`, with numbers of `bytes_each`, without dropout; logits not
        counted. The length matters where attention weights are kept."""

    def attention_dropout_bytes(self, recipe: Recipe, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """What is kept beside that where attention weights are dropped. transformers' attention function then writes them out:
        in float32, which of them are kept, and what is left of them."""
        if not self.attention_dropout(cast(Any, SimpleNamespace(**self.config_values(recipe)))):
            return 0
        heads = getattr(self, "num_attention_heads", 0)
        return num_tokens * self.num_hidden_layers * heads * sequence_length * (4 + 1 + bytes_each)

    @property
    def attention_window(self) -> int | None:
        """Tokens on each side that its local layers see; None without such layers."""
        return None

    def num_logits(self, num_tokens: int, sequence_length: int) -> int:
        """Of `num_tokens` that are trained on, those for which the model computes logits."""
        return num_tokens

    # ------------------------------------------------------------------ building

    @abstractmethod
    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        """What transformers' configuration says beside the vocabulary and its special tokens."""

    # ------------------------------------------------------------------ training

    @classmethod
    def decayed_names(cls, model: "nn.Module") -> list[str]:
        """The parameters that weight decay applies to: all but norms, biases, other vectors and `never_decayed`."""
        from transformers import Trainer

        # The rule needs no Trainer. It knows norms and biases by names, but no other vectors.
        names = set(Trainer.get_decay_parameter_names(cast(Any, None), model))
        matrices = [name for name, one in model.named_parameters() if name in names and one.ndim > 1]
        return [name for name in matrices if not (cls.never_decayed and re.search(cls.never_decayed, name))]

    @classmethod
    def muon_names(cls, model: "nn.Module") -> list[str]:
        """The parameters that Muon takes, in the order of the model: the matrices of its layers."""
        return [name for name, one in model.named_parameters() if one.ndim == 2 and re.search(cls.layer, name)]

    @classmethod
    @abstractmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        """The share of attention weights that transformers' attention function drops in training; 0 for a family that has its
        own attention, whose dropout is a module."""

    @classmethod  # noqa: B027 - most classes can
    def take_half_weights(cls, model: "PreTrainedModel") -> None:
        """Makes a model that was built work with weights of 16 bits, which ZeRO trains, where its class does not."""

    @classmethod
    def row_dimension(cls, num_dimensions: int) -> int:
        """The dimension with the rows of the batch, in what a dropout module is given."""
        return 0

    @classmethod
    def attention_modules(cls, model: "PreTrainedModel") -> "Sequence[nn.Module]":
        """The modules that call transformers' attention function, which drops the weights."""
        return [module for module in model.modules() if isinstance(getattr(module, "layer_idx", None), int)]


def common_shape(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of all families, for a recipe's `values` of `shape_values`. Raises InputError for sequences that are longer
    than the model takes."""
    return {
        "hidden_size": values["hidden_size"],
        "num_hidden_layers": values["num_hidden_layers"],
        "max_position_embeddings": positions_of(recipe, values),
        "tie_word_embeddings": values.get("tie_word_embeddings", False),
        "vocab_size": recipe.model_vocab_size,
    }


def shape_values(model: Model) -> dict[str, Any]:
    """The fields that a recipe's named size gives, with those that the recipe says itself over them. Raises InputError for a
    size that does not exist, and for a shape with gaps or contradictions."""
    if model.size is not None and model.size not in model.sizes:
        near = difflib.get_close_matches(model.size.lower(), model.sizes, 1, 0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"model.size: {model.size!r} is not one of {', '.join(model.sizes)}{hint}")
    values = model.shape()
    if missing := [name for name in model.shape_fields if name not in values]:
        raise InputError(f"model: give a size ({', '.join(model.sizes)}) or {', '.join(missing)}")
    if mistakes := [f"model.{key}: {text}" for key, text in model.contradictions()]:
        raise InputError(*mistakes)
    return values


def positions_of(recipe: Recipe, values: Mapping[str, Any]) -> int:
    """How many positions a model of these fields has: those of a sequence, or more. Raises InputError for less."""
    length = recipe.batch.sequence_length
    positions: int = values.get("max_position_embeddings", length)
    if positions < length:
        raise InputError(f"model.max_position_embeddings: {positions} is below batch.sequence_length ({length})")
    return positions
