"""Recipes: YAML in, one validated `Recipe` out. Imports neither torch nor transformers."""

from lmeff.recipe.reading import Resolved, read_recipe
from lmeff.recipe.schema import Recipe

__all__ = ["Recipe", "Resolved", "read_recipe"]
