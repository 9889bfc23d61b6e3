"""What a model is trained to do: its inputs, its loss, and the same loss on held-out text.

The facts of an objective (how many positions have a loss) need no torch; whatever needs it imports it when it is called.
"""

from lmeff.objectives.causal import CausalObjective
from lmeff.objectives.hybrid import HybridObjective
from lmeff.objectives.masked import MaskedObjective
from lmeff.objectives.objective import Objective, Pieces, WrappedObjective
from lmeff.objectives.permutation import PermutationObjective
from lmeff.objectives.positions import LossPositions
from lmeff.recipe.schema import Recipe
from lmeff.tokens import Tokens
from lmeff.tokens.tokenizer.word_starts import word_starts

__all__ = [
    "CausalObjective",
    "HybridObjective",
    "LossPositions",
    "MaskedObjective",
    "Objective",
    "PermutationObjective",
    "Pieces",
    "WrappedObjective",
    "objective_of",
]


def objective_of(recipe: Recipe, tokens: Tokens | None = None) -> Objective:
    """The objective that a recipe trains with on `tokens`. Without them, where only the size of things matters, words are not
    known, and single tokens stand for them."""
    if recipe.objective_name == "masked":
        is_whole = recipe.objective.settings("masked")["whole_word"] and tokens is not None
        return MaskedObjective(recipe, word_starts(tokens.tokenizer_folder) if is_whole and tokens else None)
    if recipe.objective_name == "permutation":
        return PermutationObjective(recipe)
    if recipe.objective_name == "hybrid":
        return HybridObjective(recipe)
    return CausalObjective(recipe.objective.z_loss)
