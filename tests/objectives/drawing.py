"""What tests of drawn objectives share: recipes of tiny models, and pieces of made-up text."""

from pathlib import Path
from typing import Any

import numpy as np

from lmeff.objectives import Objective, Pieces
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID

VOCABULARY = 300
RECIPE = """
name: drawn
seed: 3
corpus: {{name: a, paths: ['{folder}/a.txt']}}
tokenizer: {{vocab_size: {vocabulary}}}
model: {{family: {family}, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2}}
batch: {{tokens: 512, sequence_length: 32}}
anchors: {{tokens: [5120]}}
schedule: {{warmup: 1 steps}}
"""
"""Ten steps of sixteen rows."""


def recipe_of(folder: Path, family: str, *words: str) -> Recipe:
    (folder / "a.txt").write_text("a")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder, vocabulary=VOCABULARY, family=family))
    return read_recipe(path, words).recipe


def pieces_of(
    num_rows: int, length: int, step: int = 0, apart: bool = False, padding: int = 0, seed: int = 0
) -> Pieces:
    """Documents of 3 to 12 tokens, one after the other, and so much padding in the last row."""
    generator = np.random.default_rng(seed)
    text: list[int] = []
    while len(text) < num_rows * length:
        text += [BOS_ID, *generator.integers(3, VOCABULARY, generator.integers(1, 11)).tolist(), EOS_ID]
    input_ids = np.array(text[: num_rows * length]).reshape(num_rows, length)
    begins = input_ids == BOS_ID
    begins[:, 0] = True
    if padding:
        input_ids[-1, -padding:], begins[-1, -padding:] = PAD_ID, False
        begins[-1, -padding] = True
    return Pieces(input_ids, begins, np.arange(num_rows), apart, step, range(num_rows))


def rows_of(pieces: Pieces, rows: slice) -> Pieces:
    """A micro-batch of these."""
    return Pieces(
        pieces.input_ids[rows],
        pieces.begins[rows],
        pieces.sequence_ids[rows],
        pieces.keeps_documents_apart,
        pieces.step,
        pieces.slots[rows],
    )


def inputs_of(objective: Objective, pieces: Pieces) -> dict[str, Any]:
    """What the model's forward pass is given."""
    return objective.prepare(objective.inputs(pieces))


def equal(one: Any, other: Any) -> bool:
    """Whether two inputs, with all that is in them, are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool((one == other).all()) if hasattr(one, "shape") else one == other
