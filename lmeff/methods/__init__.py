"""Learning methods: a package for each, handed to training by `lmeff.run`. Needs no torch until a method is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmeff.recipe.schema import Recipe
from lmeff.tokens import Tokens

if TYPE_CHECKING:
    from lmeff.training.method import Method


def check_methods(recipe: Recipe) -> None:
    """Raises InputError when something that a method reads is not there. Called before anything is prepared."""


def methods_of(recipe: Recipe, tokens: Tokens) -> tuple[Method, ...]:
    """The recipe's learning methods on its tokens, in the order in which they fold over each other. Raises InputError."""
    return ()
