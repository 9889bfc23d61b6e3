"""The shape for a budget: the one with a number of parameters that is nearest to the asked share of embeddings and feed-forward
factor.

The search is exact: it looks at every legal width, division into heads, feed-forward width and depth whose share and factor are
at most a quarter from what is asked. Of those with the asked number of parameters, within 0.5%, the best has the smallest

    log(share / asked)^2 + log(factor / asked)^2

so that missing either by the same percentage counts the same. Equal ones are ordered by how near the number of parameters is,
then by width, then by how usual the division into heads is. Where no share is asked, the first term is that of width per layer:
32 is usual, and four times as much or as little is legal.
"""

from lmeff.errors import InputError
from lmeff.models.budget.design import Design, is_open
from lmeff.models.budget.nearest_miss import why_none
from lmeff.models.budget.shapes import Count, Shapes
from lmeff.recipe.schema import Recipe


def solve_budget(recipe: Recipe, count: Count) -> list[Design]:
    """The shape for the recipe's budget, and after it the best ones of other widths, the nearest first. Raises InputError,
    which names the nearest miss, where there is none."""
    shapes = Shapes(recipe, count)
    designs = sorted(shapes.designs(), key=lambda design: design.rank)
    if not designs:
        raise InputError(f"model.budget: {why_none(shapes)}")
    return designs


def solve_with_other_tying(recipe: Recipe, count: Count) -> Design | None:
    """The shape that a recipe would have with the other `tie_word_embeddings`; None where there is none."""
    model = recipe.model
    if "tie_word_embeddings" not in type(model).model_fields or not is_open(model):
        return None
    other = model.model_copy(update={"tie_word_embeddings": not getattr(model, "tie_word_embeddings", False)})
    designs = Shapes(recipe.model_copy(update={"model": other}), count).designs()
    return min(designs, key=lambda design: design.rank, default=None)
