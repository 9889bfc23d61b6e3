"""GPT-J (Wang and Komatsuzaki 2021): rotary positions, attention and feed-forward network side by side after one layer norm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, common_shape, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import GptjSection

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Gptj(Family):
    name: ClassVar[str] = "gptj"
    model_type: ClassVar[str] = "gptj"
    model_class: ClassVar[str] = "GPTJForCausalLM"
    title: ClassVar[str] = "A GPT-J language model"
    plural: ClassVar[str] = "GPT-J language models"
    layer: ClassVar[str] = r"\.h\."

    num_attention_heads: int
    intermediate_size: int
    rotary_dim: int

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        width, heads = values["hidden_size"], values["num_attention_heads"]
        return cls(
            **common_shape(recipe, values),
            num_attention_heads=heads,
            intermediate_size=values.get("n_inner", 4 * width),
            rotary_dim=values.get("rotary_dim", min(64, width // heads)),
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
            rotary_dim=config.rotary_dim,
        )

    def count_parameters(self) -> Parameters:
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        matrices = layers * (4 * width * width + 2 * width * inner)
        biases = layers * (width + inner) + self.vocab_size  # of the feed-forward networks and of the output
        norms = (layers + 1) * 2 * width
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = matrices + biases + norms
        return Parameters(embedding + non_embedding, embedding, non_embedding, matrices + one_embedding)

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Attention is written out: the weights of each head are kept in float32, and again as the values have them. Autocast
        copies a norm's output once for every matrix that reads it; GELU is as in GPT-2."""
        width, read = self.hidden_size, 4 if bytes_each == 2 else 1
        inner = (16 if bytes_each == 2 else 5 * bytes_each) * self.intermediate_size
        bytes_of_a_weight = 4 if bytes_each == 4 else 4 + bytes_each
        weights = self.num_attention_heads * sequence_length * bytes_of_a_weight
        per_layer = (4 + (4 + read) * bytes_each) * width + inner + weights + 8
        return num_tokens * (self.num_hidden_layers * per_layer + (4 + bytes_each) * width + 16)

    def attention_dropout_bytes(self, recipe: Recipe, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Which weights are kept, and in float32 what is left of them, since the others are needed, too."""
        assert isinstance(recipe.model, GptjSection)
        if not recipe.model.attn_pdrop:
            return 0
        weights = num_tokens * self.num_hidden_layers * self.num_attention_heads * sequence_length
        return weights * (1 + (4 if bytes_each == 4 else 0))

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, GptjSection)
        return {
            "n_embd": self.hidden_size,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "n_inner": self.intermediate_size,
            "n_positions": self.max_position_embeddings,
            "rotary_dim": self.rotary_dim,
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
        return 0.0
