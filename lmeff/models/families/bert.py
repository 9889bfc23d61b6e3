"""BERT (Devlin et al. 2019): attention both ways, learned positions, layer norms after each block, an output layer that shares
the input embedding. One token type, and no prediction of the next sentence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, positions_of, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import BertSection

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Bert(Family):
    name: ClassVar[str] = "bert"
    model_type: ClassVar[str] = "bert"
    model_class: ClassVar[str] = "BertForMaskedLM"
    auto_class: ClassVar[str] = "AutoModelForMaskedLM"
    title: ClassVar[str] = "A BERT language model"
    plural: ClassVar[str] = "BERT language models"
    looks_both_ways: ClassVar[bool] = True
    layer: ClassVar[str] = r"\.layer\."

    intermediate_size: int
    num_attention_heads: int
    num_token_types: int = 1

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        return cls(
            hidden_size=values["hidden_size"],
            intermediate_size=values["intermediate_size"],
            num_hidden_layers=values["num_hidden_layers"],
            num_attention_heads=values["num_attention_heads"],
            max_position_embeddings=positions_of(recipe, values),
            tie_word_embeddings=True,
            vocab_size=recipe.model_vocab_size,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return cls(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
            num_token_types=config.type_vocab_size,
        )

    def count_parameters(self) -> Parameters:
        width, inner, layers = self.hidden_size, self.intermediate_size, self.num_hidden_layers
        matrices, biases_and_norms = 4 * width * width + 2 * width * inner, 9 * width + inner
        tables = (self.max_position_embeddings + self.num_token_types) * width + 2 * width  # with the norm after them
        head = width * width + 3 * width + self.vocab_size  # a dense layer, its norm, and the bias of the output
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding + self.vocab_size
        non_embedding = layers * (matrices + biases_and_norms) + tables + head
        return Parameters(
            embedding + non_embedding, embedding, non_embedding, layers * matrices + width * width + one_embedding
        )

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Autocast copies a norm's output once for every matrix that reads it."""
        width, read = self.hidden_size, 4 if bytes_each == 2 else 2
        numbers = (4 + read) * width + 2 * self.intermediate_size
        per_layer = 8 * width + numbers * bytes_each + 4 * self.num_attention_heads + 16
        return num_tokens * (self.num_hidden_layers * per_layer + (4 + 4 * bytes_each) * width + 26)

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, BertSection)
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.num_token_types,
            "tie_word_embeddings": True,
            "hidden_act": "gelu",
            "layer_norm_eps": model.layer_norm_eps,
            "initializer_range": model.initializer_range,
            "hidden_dropout_prob": model.hidden_dropout_prob,
            "attention_probs_dropout_prob": model.attention_probs_dropout_prob,
            "classifier_dropout": None,
            "is_decoder": False,
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return float(config.attention_probs_dropout_prob)
