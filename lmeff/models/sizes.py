"""Named sizes and parameter counts, without torch.

The names are those of the published collection; the counts depend on the vocabulary: `20m` has 15M parameters at 8,192
entries and 47M at 50,257.
"""

import difflib
from dataclasses import dataclass, fields
from typing import Any

from lmeff.errors import InputError
from lmeff.recipe.schema import Recipe

SIZES: dict[str, dict[str, int]] = {
    "20m": {"hidden_size": 384, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6},
    "60m": {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 8},
    "180m": {"hidden_size": 768, "intermediate_size": 1792, "num_hidden_layers": 24, "num_attention_heads": 12},
}


@dataclass(frozen=True)
class Shape:
    """Everything about a Llama that decides its parameters and its arithmetic."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    vocab_size: int


@dataclass(frozen=True)
class Parameters:
    total: int
    embedding: int
    """Input and output embedding; one of them when they are tied."""
    non_embedding: int
    matmul: int
    """Parameters that a token is multiplied with: all but norms and the input embedding, which is a lookup."""


def resolve_shape(recipe: Recipe) -> Shape:
    """The recipe's model: its named size with single fields overridden. Raises InputError for a size that does not exist."""
    model = recipe.model
    if model.size is not None and model.size not in SIZES:
        near = difflib.get_close_matches(model.size.lower(), SIZES, 1, 0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"model.size: {model.size!r} is not one of {', '.join(SIZES)}{hint}")
    values: dict[str, Any] = dict(SIZES.get(model.size or "", {}))
    values |= {field.name: value for field in fields(Shape) if (value := getattr(model, field.name, None)) is not None}
    missing = [name for name in SIZES["20m"] if name not in values]
    if missing:
        raise InputError(f"model: give a size ({', '.join(SIZES)}) or {', '.join(missing)}")
    heads = values["num_attention_heads"]
    if values["hidden_size"] % heads:
        raise InputError(
            f"model.hidden_size: {values['hidden_size']} is not a multiple of num_attention_heads ({heads})"
        )
    values.setdefault("num_key_value_heads", heads)
    if heads % values["num_key_value_heads"]:
        raise InputError(
            f"model.num_key_value_heads: {heads} heads are not a multiple of {values['num_key_value_heads']}"
        )
    values.setdefault("head_dim", values["hidden_size"] // heads)
    if values["head_dim"] % 2:
        raise InputError(f"model.head_dim: {values['head_dim']} is odd; rotary positions turn dimensions in pairs")
    values.setdefault("max_position_embeddings", recipe.batch.sequence_length)
    if values["max_position_embeddings"] < recipe.batch.sequence_length:
        raise InputError(
            f"model.max_position_embeddings: {values['max_position_embeddings']} is below"
            f" batch.sequence_length ({recipe.batch.sequence_length})"
        )
    return Shape(**values, vocab_size=recipe.tokenizer.vocab_size)


def count_parameters(shape: Shape) -> Parameters:
    """Exact counts for the Llama architecture without biases."""
    width, layers = shape.hidden_size, shape.num_hidden_layers
    attention = width * shape.head_dim * (2 * shape.num_attention_heads + 2 * shape.num_key_value_heads)
    block = attention + 3 * width * shape.intermediate_size
    norms = (2 * layers + 1) * width
    one_embedding = shape.vocab_size * width
    embedding = one_embedding if shape.tie_word_embeddings else 2 * one_embedding
    non_embedding = layers * block + norms
    return Parameters(embedding + non_embedding, embedding, non_embedding, layers * block + one_embedding)
