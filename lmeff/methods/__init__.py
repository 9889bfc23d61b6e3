"""Learning methods: a package for each, handed to training by `lmeff.run`. Needs no torch until a method is made."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from lmeff.methods.curriculum.costs import curriculum_costs
from lmeff.methods.curriculum.reference import check_reference, reference_of
from lmeff.methods.distillation.costs import planned_costs
from lmeff.methods.distillation.sources import sources_of
from lmeff.plan.beside import MethodCosts, all_costs
from lmeff.recipe import Resolved
from lmeff.recipe.schema import Recipe

if TYPE_CHECKING:
    from lmeff.tokens import Tokens
    from lmeff.training.method import Method


def check_methods(recipe: Recipe, resolved: Resolved | None = None) -> None:
    """Raises InputError when something that a method reads is not there, with file and line where `resolved` knows them.
    Called before anything is prepared."""
    with resolved.naming_lines() if resolved else nullcontext():
        for source in sources_of(recipe):
            source.check_fits(recipe)
        if reference := reference_of(recipe):
            check_reference(reference, recipe)


def method_costs(recipe: Recipe) -> MethodCosts:
    """What the recipe's learning methods cost beside training, as far as it is known before anything runs."""
    return all_costs([planned_costs(recipe), curriculum_costs(recipe)])


def tried_methods(recipe: Recipe) -> tuple[Method, ...]:
    """Those of the recipe's learning methods that take memory and time in every step, to try how much; they need no text."""
    if not recipe.distillation.is_used or recipe.distillation.cache.kind is not None:
        return ()
    from lmeff.methods.distillation.method import TriedTeachers

    return (TriedTeachers(recipe),)


def methods_of(recipe: Recipe, tokens: Tokens) -> tuple[Method, ...]:
    """The recipe's learning methods on its tokens, in the order in which they fold over each other. Raises InputError."""
    methods: list[Method] = []
    if recipe.distillation.is_used:
        from lmeff.methods.distillation.method import Distillation

        methods.append(Distillation(recipe, tokens))
    if recipe.curriculum.protocol is not None:
        from lmeff.methods.curriculum.method import Curriculum

        methods.append(Curriculum(recipe, tokens))
    return tuple(methods)
