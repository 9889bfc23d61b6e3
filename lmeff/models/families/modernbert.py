"""ModernBERT (Warner et al. 2024): attention both ways, in most layers within a window; rotary positions, norms before each
block, a gated feed-forward network, an output layer that shares the input embedding."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, positions_of, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import ModernBertSection

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class ModernBert(Family):
    name: ClassVar[str] = "modernbert"
    model_type: ClassVar[str] = "modernbert"
    model_class: ClassVar[str] = "ModernBertForMaskedLM"
    forward_formula: ClassVar[str] = (
        "2 x matmul parameters + 4 x width x the positions that each layer sees, a local one its window"
    )
    auto_class: ClassVar[str] = "AutoModelForMaskedLM"
    title: ClassVar[str] = "A ModernBERT language model"
    plural: ClassVar[str] = "ModernBERT language models"
    looks_both_ways: ClassVar[bool] = True

    intermediate_size: int
    num_attention_heads: int
    num_global_layers: int
    local_attention: int
    num_biases: int = 0
    """Biases of norms and linear layers, beside that of the output; a recipe's model has none."""

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        layers, every = values["num_hidden_layers"], values["global_attn_every_n_layers"]
        return cls(
            hidden_size=values["hidden_size"],
            intermediate_size=values["intermediate_size"],
            num_hidden_layers=layers,
            num_attention_heads=values["num_attention_heads"],
            num_global_layers=-(-layers // every),
            local_attention=values["local_attention"],
            max_position_embeddings=positions_of(recipe, values),
            tie_word_embeddings=True,
            vocab_size=recipe.model_vocab_size,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        num_biases = (2 * layers + 2) * width * config.norm_bias
        num_biases += layers * 4 * width * config.attention_bias
        num_biases += layers * (2 * inner + width) * config.mlp_bias + width * config.classifier_bias
        return cls(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=config.num_attention_heads,
            num_global_layers=config.layer_types.count("full_attention"),
            local_attention=config.local_attention,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
            num_biases=num_biases + config.vocab_size * (config.decoder_bias - 1),
        )

    def count_parameters(self) -> Parameters:
        width, layers = self.hidden_size, self.num_hidden_layers
        matrices = layers * (4 * width * width + 3 * width * self.intermediate_size)
        norms = (
            2 * layers + 2
        ) * width  # the first layer has none before its attention; embeddings, end and head have one
        output_bias = self.vocab_size
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = matrices + width * width + norms + output_bias + self.num_biases
        return Parameters(embedding + non_embedding, embedding, non_embedding, matrices + width * width + one_embedding)

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def flops_per_token(self, sequence_length: int, causal: bool = False) -> float:
        """As for others, with a local layer's attention over its window. At both ends of a sequence the window is cut, which is
        not counted. Attention is never causal."""
        window = min(sequence_length, self.local_attention + 1)
        num_local = self.num_hidden_layers - self.num_global_layers
        seen = self.num_global_layers * sequence_length + num_local * window
        return 6 * self.count_parameters().matmul + 12 * self.hidden_size * seen

    @property
    def attention_window(self) -> int | None:
        return self.local_attention // 2 if self.num_global_layers < self.num_hidden_layers else None

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """A local layer keeps what its attention adds for each pair of tokens."""
        width, num_local = self.hidden_size, self.num_hidden_layers - self.num_global_layers
        numbers = 8 * width + 4 * self.intermediate_size
        layers = self.num_hidden_layers * (8 * width + numbers * bytes_each + 4 * self.num_attention_heads + 16)
        layers += num_local * sequence_length * bytes_each
        return num_tokens * (layers + (4 + 4 * bytes_each) * width + 24)

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, ModernBertSection)
        rope = {
            "full_attention": {"rope_type": "default", "rope_theta": model.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": model.local_rope_theta},
        }
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": self.max_position_embeddings,
            "tie_word_embeddings": True,
            "global_attn_every_n_layers": model.global_attn_every_n_layers,
            "local_attention": self.local_attention,
            "rope_parameters": rope,
            "norm_eps": model.norm_eps,
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "decoder_bias": True,
            "classifier_bias": False,
            "initializer_range": model.initializer_range,
            "embedding_dropout": model.embedding_dropout,
            "attention_dropout": model.attention_dropout,
            "mlp_dropout": model.mlp_dropout,
            "sparse_prediction": False,
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return float(config.attention_dropout)
