"""Llama (Touvron et al. 2023): rotary positions, RMS norms, a gated feed-forward network, no biases."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.errors import InputError
from lmeff.models.families.family import Family, Parameters, common_shape, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import LlamaSection

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Llama(Family):
    name: ClassVar[str] = "llama"
    model_type: ClassVar[str] = "llama"
    model_class: ClassVar[str] = "LlamaForCausalLM"
    title: ClassVar[str] = "A Llama language model"
    plural: ClassVar[str] = "Llama language models"
    without_weight_decay: ClassVar[str] = "norms"

    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_biases: int = 0
    """Of models that were trained elsewhere."""

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        width, heads = values["hidden_size"], values["num_attention_heads"]
        if width % heads:
            raise InputError(f"model.hidden_size: {width} is not a multiple of num_attention_heads ({heads})")
        groups = values.get("num_key_value_heads", heads)
        if heads % groups:
            raise InputError(f"model.num_key_value_heads: {heads} heads are not a multiple of {groups}")
        head_dim = values.get("head_dim", width // heads)
        if head_dim % 2:
            raise InputError(f"model.head_dim: {head_dim} is odd; rotary positions turn dimensions in pairs")
        return cls(
            **common_shape(recipe, values),
            intermediate_size=values["intermediate_size"],
            num_attention_heads=heads,
            num_key_value_heads=groups,
            head_dim=head_dim,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        heads, width, inner = config.num_attention_heads, config.hidden_size, config.intermediate_size
        groups, head_dim = config.num_key_value_heads or heads, getattr(config, "head_dim", None) or width // heads
        biases = ((heads + 2 * groups) * head_dim + width) * config.attention_bias + (
            2 * inner + width
        ) * config.mlp_bias
        return cls(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            head_dim=head_dim,
            num_biases=config.num_hidden_layers * biases,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
        )

    def count_parameters(self) -> Parameters:
        width, layers = self.hidden_size, self.num_hidden_layers
        attention = width * self.head_dim * (2 * self.num_attention_heads + 2 * self.num_key_value_heads)
        block = attention + 3 * width * self.intermediate_size
        norms = (2 * layers + 1) * width
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = layers * block + norms + self.num_biases
        return Parameters(embedding + non_embedding, embedding, non_embedding, layers * block + one_embedding)

    @property
    def attention_width(self) -> int:
        return self.num_attention_heads * self.head_dim

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Autocast copies a norm's output once for every matrix that reads it."""
        width, read = self.hidden_size, 5 if bytes_each == 2 else 2
        numbers = read * width + 4 * self.attention_width + 4 * self.intermediate_size
        per_layer = 16 * width + numbers * bytes_each + 4 * self.num_attention_heads + 8
        return num_tokens * (self.num_hidden_layers * per_layer + (8 + bytes_each) * width + 12)

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, LlamaSection)
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "tie_word_embeddings": self.tie_word_embeddings,
            "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
            "rms_norm_eps": model.rms_norm_eps,
            "initializer_range": model.initializer_range,
            "attention_dropout": model.attention_dropout,
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return float(config.attention_dropout)
