"""A small text, and tiny teachers of it, untrained: what they say matters as little as they have learned."""

from pathlib import Path
from typing import Any

from launching import STORIES

from lmeff.models.build import build_model
from lmeff.models.writing import write_model
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.tokens import Tokens
from lmeff.tokens.tokenizer.published import write_published_tokenizer

RECIPE = """
name: job
seed: 1
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 50}}
tokenizer: {{vocab_size: 320}}
model: {{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, initializer_range: 0.3}}
batch: {{tokens: 256, sequence_length: 32, micro: 4}}
anchors: {{tokens: [0, 1024]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{name: constant, warmup: 1 steps}}
training: {{logging_steps: 1, report_to: none}}
checkpoints: {{every_steps: 2}}
evaluation: {{dev_tokens: 1000, weights: false}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
"""Four steps."""


def write_small(folder: Path) -> Path:
    """The recipe and its text."""
    (folder / "stories.jsonl").write_text(STORIES)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder))
    return path


def recipe_of(path: Path, *words: str) -> Recipe:
    return read_recipe(path, words).recipe


def save_teacher(folder: Path, path: Path, *words: str, add_bos: bool = False) -> Path:
    """A model of the recipe's text, as a revision has it, but for what says where it is from."""
    recipe = recipe_of(path, *words)
    tokens, model = prepared_tokens(recipe), build_model(recipe)
    folder.mkdir(parents=True)
    state: dict[str, Any] = dict(model.state_dict())
    write_model(model, state, folder)
    write_published_tokenizer(tokens.tokenizer_folder, folder, add_bos, recipe.model_vocab_size > 320)
    return folder


def small_tokens(path: Path) -> Tokens:
    return prepared_tokens(recipe_of(path))
