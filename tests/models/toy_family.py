"""A second family, for tests alone: stock GPT-BigCode, which is GPT-2 in linear layers, in as few lines as the seam allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.fields import Number, PositiveCount
from lmeff.recipe.sections.model.section import FamilyName, Model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class ToySection(Model):
    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "dot": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    }
    shape_fields: ClassVar[tuple[str, ...]] = ("hidden_size", "num_hidden_layers", "num_attention_heads")

    family: FamilyName = "toy"
    hidden_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    initial_spread: Number = 0.02
    """A field that no other family has."""
    attention_dropout: Number = 0.0


@dataclass(frozen=True)
class Toy(Family):
    name: ClassVar[str] = "toy"
    model_type: ClassVar[str] = "gpt_bigcode"
    model_class: ClassVar[str] = "GPTBigCodeForCausalLM"
    title: ClassVar[str] = "A toy GPT-2"
    plural: ClassVar[str] = "Toy GPT-2s"
    layer: ClassVar[str] = r"\.h\."

    num_attention_heads: int

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        return cls(
            hidden_size=values["hidden_size"],
            num_hidden_layers=values["num_hidden_layers"],
            num_attention_heads=values["num_attention_heads"],
            max_position_embeddings=recipe.batch.sequence_length,
            tie_word_embeddings=True,
            vocab_size=recipe.model_vocab_size,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return cls(config.n_embd, config.n_layer, config.n_positions, True, config.vocab_size, config.n_head)

    def count_parameters(self) -> Parameters:
        width, layers = self.hidden_size, self.num_hidden_layers
        matrices, vectors = layers * 12 * width * width, layers * 13 * width + 2 * width
        embedding = self.vocab_size * width
        non_embedding = matrices + vectors + self.max_position_embeddings * width
        return Parameters(embedding + non_embedding, embedding, non_embedding, matrices + embedding)

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        return num_tokens * self.num_hidden_layers * 34 * self.hidden_size * bytes_each

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, ToySection)
        return {
            "n_embd": self.hidden_size,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "n_positions": self.max_position_embeddings,
            "initializer_range": model.initial_spread,
            "attn_pdrop": model.attention_dropout,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "multi_query": False,
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return config.attn_pdrop
