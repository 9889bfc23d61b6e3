"""Mamba-2 (Dao and Gu 2024): layers of one state space model each, no attention and no positions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.models.families.family import Family, Parameters, common_shape, shape_values
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import Mamba2Section

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LARGEST_CHUNK = 64
"""Without the kernels of `mamba-ssm`, longer chunks take more time: on a CPU 256 take nearly twice as long as 64."""
_LONGEST_TIME_STEP = 10_000.0
"""No time step comes near. transformers' own limit is infinity, which JSON does not have."""


@dataclass(frozen=True)
class Mamba2(Family):
    name: ClassVar[str] = "mamba2"
    model_type: ClassVar[str] = "mamba2"
    model_class: ClassVar[str] = "Mamba2ForCausalLM"
    forward_formula: ClassVar[str] = "2 x matmul parameters + the products of the scan by chunks (Dao & Gu 2024)"
    title: ClassVar[str] = "A Mamba-2 language model"
    plural: ClassVar[str] = "Mamba-2 language models"
    without_weight_decay: ClassVar[str] = "norms, biases, A_log and D"
    counted_causally: ClassVar[str] = "the products within a chunk as causal"

    expand: int
    num_heads: int
    head_dim: int
    state_size: int
    n_groups: int
    conv_kernel: int
    chunk_size: int

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        values = shape_values(recipe.model)
        chunk_size = values.get("chunk_size", min(_LARGEST_CHUNK, recipe.batch.sequence_length))
        return cls(
            **common_shape(recipe, values) | {"max_position_embeddings": 0},
            expand=values["expand"],
            num_heads=values["expand"] * values["hidden_size"] // values["head_dim"],
            head_dim=values["head_dim"],
            state_size=values["state_size"],
            n_groups=values["n_groups"],
            conv_kernel=values["conv_kernel"],
            chunk_size=chunk_size,
        )

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return cls(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            max_position_embeddings=0,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
            expand=config.expand,
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            state_size=config.state_size,
            n_groups=config.n_groups,
            conv_kernel=config.conv_kernel,
            chunk_size=config.chunk_size,
        )

    @property
    def _inner_size(self) -> int:
        return self.expand * self.hidden_size

    @property
    def _conv_size(self) -> int:
        """Numbers of a token that are convolved: what a layer computes with, and how each group writes and reads its state."""
        return self._inner_size + 2 * self.n_groups * self.state_size

    def count_parameters(self) -> Parameters:
        width, inner, layers = self.hidden_size, self._inner_size, self.num_hidden_layers
        projections = width * (inner + self._conv_size + self.num_heads) + inner * width
        convolution = self._conv_size * self.conv_kernel
        vectors = self._conv_size + 3 * self.num_heads + inner + width  # biases; dt_bias, A_log and D; two norms
        one_embedding = self.vocab_size * width
        embedding = one_embedding if self.tie_word_embeddings else 2 * one_embedding
        non_embedding = layers * (projections + convolution + vectors) + width
        matmul = layers * (projections + convolution) + one_embedding
        return Parameters(embedding + non_embedding, embedding, non_embedding, matmul)

    @property
    def attention_width(self) -> int:
        return 0

    def flops_per_token(self, sequence_length: int, causal: bool = False) -> float:
        """6 x matmul parameters, and three times the matrix products of the scan by chunks (Dao and Gu 2024, section 6 and
        listing 1). By token and head, with chunks of Q tokens, states of N numbers and heads of P: within a chunk 2QN for
        the products of C and B and 2QP for theirs with the inputs, of which `causal` counts half, as of attention; 2NP to write
        the chunk's state and 2NP to read it. Adding up the states of the chunks is not counted: one product by chunk."""
        chunk = min(self.chunk_size, sequence_length)
        within = 2 * chunk * (self.state_size + self.head_dim)
        states = 4 * self.state_size * self.head_dim
        scan = self.num_hidden_layers * self.num_heads * ((within / 2 if causal else within) + states)
        return 6 * self.count_parameters().matmul + 3 * scan

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """Without kernels. Text is filled up to whole chunks; what the states take in and give out is repeated for every head,
        and the states themselves are kept twice a chunk and once more. In 16 bits much of the scan is still float32."""
        inner, conv, heads, chunk = self._inner_size, self._conv_size, self.num_heads, self.chunk_size
        filled = -(-sequence_length // chunk) * chunk / sequence_length
        scan: float = heads * chunk * (4 + 2 * bytes_each) + heads * self.state_size * (4 + 4 * bytes_each) + 24 * heads
        scan += inner * (4 + 3 * bytes_each)
        scan += (2 + chunk / (sequence_length * filled)) * inner * self.state_size * bytes_each / chunk
        others = 24 * inner + (inner + 2 * conv) * bytes_each if bytes_each == 2 else 4 * (6 * inner + 3 * conv + heads)
        others += (8 + bytes_each) * self.hidden_size
        per_layer = filled * scan + others
        return round(num_tokens * (self.num_hidden_layers * per_layer + (8 + bytes_each) * self.hidden_size + 12))

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        model = recipe.model
        assert isinstance(model, Mamba2Section)
        return {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "expand": self.expand,
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "state_size": self.state_size,
            "n_groups": self.n_groups,
            "conv_kernel": self.conv_kernel,
            "chunk_size": self.chunk_size,
            "tie_word_embeddings": self.tie_word_embeddings,
            "layer_norm_epsilon": model.layer_norm_epsilon,
            "initializer_range": model.initializer_range,
            "rescale_prenorm_residual": True,
            "residual_in_fp32": True,
            "use_bias": False,
            "use_conv_bias": True,
            "hidden_act": "silu",
            "time_step_limit": [0.0, _LONGEST_TIME_STEP],
        }

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        return 0.0
