"""GPT-2 (Radford et al. 2019): learned positions, layer norms before attention and a feed-forward network, biases."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, common_shape, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import Gpt2Section

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Gpt2(Family):
    name: ClassVar[str] = "gpt2"
    model_type: ClassVar[str] = "gpt2"
    model_class: ClassVar[str] = "GPT2LMHeadModel"
    title: ClassVar[str] = "A GPT-2 language model"
    plural: ClassVar[str] = "GPT-2 language models"
    layer: ClassVar[str] = r"\.h\."

    num_attention_heads: int
    intermediate_size: int

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        return cls(
            **common_shape(recipe, values),
            num_attention_heads=values["num_attention_heads"],
            intermediate_size=values.get("n_inner", 4 * values["hidden_size"]),
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return cls(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.n_inner or 4 * config.hidden_size,
        )

    def count_parameters(self) -> Parameters:
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        matrices = layers * (4 * width * width + 2 * width * inner)
        biases = layers * (5 * width + inner)
        norms = (2 * layers + 1) * 2 * width
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = matrices + biases + norms + self.max_position_embeddings * width
        return Parameters(embedding + non_embedding, embedding, non_embedding, matrices + one_embedding)

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Of GELU with a third power, which CUDA's autocast computes in float32, and a CPU's in 16 bits."""
        width = self.hidden_size
        inner = (16 if bytes_each == 2 else 5 * bytes_each) * self.intermediate_size
        per_layer = (8 + 6 * bytes_each) * width + inner + 4 * self.num_attention_heads + 16
        return num_tokens * (self.num_hidden_layers * per_layer + (4 + bytes_each) * width + 16)

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, Gpt2Section)
        return {
            "n_embd": self.hidden_size,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "n_inner": self.intermediate_size,
            "n_positions": self.max_position_embeddings,
            "tie_word_embeddings": self.tie_word_embeddings,
            "activation_function": model.activation_function,
            "layer_norm_epsilon": model.layer_norm_epsilon,
            "initializer_range": model.initializer_range,
            "attn_pdrop": model.attn_pdrop,
            "resid_pdrop": model.resid_pdrop,
            "embd_pdrop": model.embd_pdrop,
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return float(config.attn_pdrop)
