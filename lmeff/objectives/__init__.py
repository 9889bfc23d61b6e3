"""What a model is trained to do: its inputs, its loss, and the same loss on held-out text.

The facts of an objective (how many positions have a loss) need no torch; whatever needs it imports it when it is called.
"""

from lmeff.errors import InputError
from lmeff.objectives.causal import CausalObjective
from lmeff.objectives.objective import Objective, Pieces, WrappedObjective
from lmeff.objectives.positions import LossPositions
from lmeff.recipe.schema import Recipe

__all__ = ["CausalObjective", "LossPositions", "Objective", "Pieces", "WrappedObjective", "objective_of"]


def objective_of(recipe: Recipe) -> Objective:
    """The objective that a recipe trains with. Raises InputError for one that there is not yet."""
    if recipe.objective_name != "causal":
        raise InputError(f"objective.name: {recipe.objective_name!r} cannot be trained yet")
    return CausalObjective()
