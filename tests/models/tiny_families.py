"""Recipes of tiny models of each family."""

from pathlib import Path

from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe

RECIPE = """
name: tiny
corpus: {name: synthetic}
tokenizer: {vocab_size: 301}
model: {family: FAMILY}
batch: {tokens: 1024, sequence_length: 128, micro: 4}
anchors: {tokens: [10240]}
schedule: {warmup: 1 steps}
"""
TINY: dict[str, dict[str, int]] = {
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "gpt2": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "gptj": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "head_dim": 16, "state_size": 8},
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "modernbert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "xlnet": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "d_inner": 64},
}
"""Fields of `model:` by family."""
DROPOUT: dict[str, list[str]] = {
    "llama": ["attention_dropout"],
    "gpt2": ["attn_pdrop", "resid_pdrop", "embd_pdrop"],
    "gptj": ["attn_pdrop", "resid_pdrop", "embd_pdrop"],
    "mamba2": [],
    "bert": ["hidden_dropout_prob", "attention_probs_dropout_prob"],
    "modernbert": ["embedding_dropout", "attention_dropout", "mlp_dropout"],
    "xlnet": ["dropout"],
}
"""The fields that say how much of what is dropped, by family."""


def tiny_model(family: str, **more: object) -> str:
    """What stands in the braces of a recipe's `model:`; of a kind that is no family of these, only its name."""
    fields = {"family": family, **TINY.get(family, {}), **more}
    return ", ".join(f"{key}: {value}" for key, value in fields.items())


def recipe_of(folder: Path, family: str, values: dict, *words: str) -> Recipe:
    """The recipe above with `values` under `model:` and other words of the command line."""
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("FAMILY", family))
    return read_recipe(path, [*(f"model.{key}={value}" for key, value in values.items()), *words]).recipe
