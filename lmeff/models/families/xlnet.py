"""XLNet (Yang et al. 2019): trained on tokens in a random order, by two streams of attention over relative positions."""

from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import XLNetSection
from lmeff.recipe.sections.objective import most_predicted

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class XLNet(Family):
    name: ClassVar[str] = "xlnet"
    model_type: ClassVar[str] = "xlnet"
    model_class: ClassVar[str] = "XLNetLMHeadModel"
    forward_formula: ClassVar[str] = (
        "2 x matmul parameters of the content stream, with those of positions, + 8 x layers x width x length"
    )
    title: ClassVar[str] = "An XLNet language model"
    plural: ClassVar[str] = "XLNet language models"
    looks_both_ways: ClassVar[bool] = True
    is_asked_by_end: ClassVar[bool] = True
    without_weight_decay: ClassVar[str] = "norms, biases, segments and the embedding that stands for a token"
    never_decayed: ClassVar[str | None] = r"(r_[rsw]_bias|seg_embed|mask_emb)$"
    layer: ClassVar[str] = r"\.layer\.\d+\.ff\."
    """Attention keeps its matrices by heads, in three dimensions, and beside them biases in two."""

    d_inner: int
    num_attention_heads: int
    predicted_share: float = 1 / 6
    max_span: int = 5
    """`objective.predicted_share` and `max_span`, which decide how many tokens of a row are predicted."""

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values, objective = shape_values(recipe.model), recipe.objective.settings("permutation")
        return cls(
            hidden_size=values["hidden_size"],
            d_inner=values["d_inner"],
            num_hidden_layers=values["num_hidden_layers"],
            num_attention_heads=values["num_attention_heads"],
            predicted_share=float(objective["predicted_share"]),
            max_span=int(objective["max_span"]),
            max_position_embeddings=recipe.batch.sequence_length,
            tie_word_embeddings=True,
            vocab_size=recipe.model_vocab_size,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return cls(
            hidden_size=config.d_model,
            d_inner=config.d_inner,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
        )

    def count_parameters(self) -> Parameters:
        width, inner, layers = self.hidden_size, self.d_inner, self.num_hidden_layers
        matrices = 5 * width * width + 2 * width * inner  # the fifth is for positions
        vectors = (
            3 * width + 2 * width + 2 * width + 3 * width + inner
        )  # biases of attention, segments, norm; network and norm
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = (
            layers * (matrices + vectors) + width + self.vocab_size
        )  # with what stands for a token, and a bias
        return Parameters(embedding + non_embedding, embedding, non_embedding, layers * matrices + one_embedding)

    @property
    def attention_width(self) -> int:
        return self.hidden_size

    def flops_per_token(self, sequence_length: int, causal: bool = False) -> float:
        """Of two streams, as transformers computes them; attention is never causal. With width W, inner width I, length L and
        a share P of the positions that are predicted, a layer multiplies and adds for each token:

        - content stream: 4 W^2 for queries, keys, values and output, 2 W^2 for positions (there are 2 L relative ones), 2 W I
          in the feed-forward network; L W for content scores, 2 L W for position scores, L W for values;
        - query stream: P (2 W^2 + 2 W I) for queries, output and feed-forward network; it has the content stream's keys and
          values, and attention of all L positions again, 4 L W;
        - P 2 L W to put the queries at the places that they predict, and back.

        The output layer sees what is predicted. Each is two operations, and three times that with the backward pass."""
        width, layers, length = self.hidden_size, self.num_hidden_layers, sequence_length
        predicted = most_predicted(length, self.predicted_share, self.max_span) / length
        content = 6 * width * width + 2 * width * self.d_inner + 4 * length * width
        query = predicted * (2 * width * width + 2 * width * self.d_inner + 2 * length * width) + 4 * length * width
        return 6 * (layers * (content + query) + predicted * width * self.vocab_size)

    def forward_flops_per_token(self, sequence_length: int) -> float:
        """Of the content stream alone, which is what a pass without places to predict computes."""
        width, layers, length = self.hidden_size, self.num_hidden_layers, sequence_length
        layer = 6 * width * width + 2 * width * self.d_inner + 4 * length * width
        return 2 * (layers * layer + width * self.vocab_size)

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Attention is written out in both streams: the weights of each head are kept in float32, and again as the values
        have them. Autocast copies what a product reads in float32."""
        width, is_half = self.hidden_size, bytes_each == 2
        predicted = self.num_logits(num_tokens, sequence_length) / num_tokens
        weights = self._num_weights(1, sequence_length) * (4 + bytes_each if is_half else 4)
        content = 8 * width + ((15 if is_half else 13) * width + 2 * self.d_inner) * bytes_each + 20
        query = 8 * width + (3 * width + 2 * self.d_inner) * bytes_each + 16
        query += 2 * sequence_length * bytes_each if is_half else 0  # where the queries stand
        per_layer = content + predicted * query
        return round(num_tokens * (self.num_hidden_layers * per_layer + weights + predicted * bytes_each * width + 8))

    def _num_weights(self, num_tokens: int, sequence_length: int) -> int:
        return num_tokens * self.num_hidden_layers * 2 * self.num_attention_heads * sequence_length

    def attention_dropout_bytes(self, recipe: Recipe, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Which weights are kept, and in float32 what is left of them, since the others are needed, too."""
        assert isinstance(recipe.model, XLNetSection)
        if not recipe.model.dropout:
            return 0
        return self._num_weights(num_tokens, sequence_length) * (1 + (4 if bytes_each == 4 else 0))

    def num_logits(self, num_tokens: int, sequence_length: int) -> int:
        """Those that a row has room to predict."""
        return num_tokens * most_predicted(sequence_length, self.predicted_share, self.max_span) // sequence_length

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, XLNetSection)
        return {
            "d_model": self.hidden_size,
            "d_inner": self.d_inner,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "tie_word_embeddings": True,
            "ff_activation": "gelu",
            "attn_type": "bi",
            "layer_norm_eps": model.layer_norm_eps,
            "initializer_range": model.initializer_range,
            "dropout": model.dropout,
            "mem_len": None,  # sequences stand for themselves: nothing is remembered from one to the next
            "use_mems_eval": False,
            "use_mems_train": False,
            "bi_data": False,
            "clamp_len": -1,
        }

    @classmethod
    def take_half_weights(cls, model: "PreTrainedModel") -> None:
        """transformers has the positions in float32, and multiplies them with the weights."""

        def in_precision_of_weights(self: Any, *given: Any, **options: Any) -> Any:
            return type(self).relative_positional_encoding(self, *given, **options).to(self.dtype)

        body: Any = model.transformer
        body.relative_positional_encoding = MethodType(in_precision_of_weights, body)

    @classmethod
    def row_dimension(cls, num_dimensions: int) -> int:
        """Hidden states are (length, batch, width), weights of attention (batch, heads, queries, keys)."""
        return 1 if num_dimensions == 3 else 0

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return 0.0  # it has its own attention, whose dropout is a module
