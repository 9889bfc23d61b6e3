"""A recipe of which only the model matters."""

from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.anchors import Anchors
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.corpus import Corpus
from lmeff.recipe.sections.model import Model
from lmeff.recipe.sections.tokenizer import Tokenizer


def recipe(vocab_size: int = 1000, seed: int = 0, **model) -> Recipe:
    return Recipe(
        name="r",
        seed=seed,
        corpus=Corpus(name="synthetic"),
        tokenizer=Tokenizer(vocab_size=vocab_size),
        model=Model.model_validate(model),
        batch=Batch(tokens=1024, sequence_length=128),
        anchors=Anchors(tokens=["1k"]),
    )
