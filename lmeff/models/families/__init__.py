"""The families of architectures: one file each. Imports no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmeff.errors import InputError
from lmeff.models.budget.design import Design, is_open, said_fields
from lmeff.models.families.auto import Auto
from lmeff.models.families.bert import Bert
from lmeff.models.families.family import Family, Parameters
from lmeff.models.families.gpt2 import Gpt2
from lmeff.models.families.gptj import Gptj
from lmeff.models.families.llama import Llama
from lmeff.models.families.mamba2 import Mamba2
from lmeff.models.families.modernbert import ModernBert
from lmeff.models.families.xlnet import XLNet
from lmeff.recipe import Resolved
from lmeff.recipe.schema import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

FAMILIES: dict[str, type[Family]] = {
    "llama": Llama,
    "gpt2": Gpt2,
    "gptj": Gptj,
    "mamba2": Mamba2,
    "bert": Bert,
    "modernbert": ModernBert,
    "xlnet": XLNet,
    "auto": Auto,
}
"""By the name that recipes use. Each has a section of that name in `lmeff/recipe/sections/model/`."""
_NUM_DESIGNS = 4
"""A budget's shape and others beside it."""
_FOUND: dict[str, list[Design]] = {}
"""Shapes by what was asked for."""


def family_of(recipe: Recipe) -> Family:
    """The recipe's model by its shape, which is found where there is a budget. Raises InputError for a model that cannot be."""
    if is_open(recipe.model):
        recipe = with_shape(recipe, _solve(recipe)[0])
    return FAMILIES[recipe.model.family].of_recipe(recipe)


def with_shape(recipe: Recipe, design: Design) -> Recipe:
    """The recipe with the shape that was found for its budget."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=dict(design.fields))})


def designs_of(recipe: Recipe) -> list[Design]:
    """The shape that a budget leads to and then other ones near it: of the next best widths, and the one with the other choice
    of `tie_word_embeddings`. Raises InputError where there is none."""
    from lmeff.models.budget.search import solve_with_other_tying

    other = solve_with_other_tying(recipe, _count)
    return _solve(recipe)[:_NUM_DESIGNS] + ([other] if other else [])


def solved(resolved: Resolved, begun: Mapping[str, Any] | None = None) -> Resolved:
    """A recipe with the fields that its budget leads to, as a run keeps it. `begun` is `model:` of the recipe that the run
    began with: the same budget keeps the shape that it led to then, whatever it would lead to now. Raises InputError, with file
    and line, for a budget that leads to nothing."""
    model = resolved.recipe.model
    if model.budget is None:
        return resolved
    try:
        fields = _solve(_as_begun(resolved.recipe, begun or {}))[0].fields
    except InputError as error:
        raise InputError(
            *(resolved.line_of("model.budget", one.partition(": ")[2]) for one in error.mistakes)
        ) from None
    return resolved.with_model({name: value for name, value in fields.items() if name not in said_fields(model)})


def _as_begun(recipe: Recipe, begun: Mapping[str, Any]) -> Recipe:
    """The recipe with the shape that its run began with, where that was found for the same wishes."""
    model = recipe.model
    said = model.model_dump(exclude_none=True, exclude_unset=True)
    wishes = said | {
        "family": model.family,
        "budget": model.budget.model_dump(exclude_none=True) if model.budget else None,
    }
    if any(begun.get(name) != value for name, value in wishes.items()):
        return recipe
    kept = recipe.model_copy(update={"model": model.model_validate({**begun, **said})})
    try:
        _solve(kept)
    except InputError:  # with another vocabulary, for example
        return recipe
    return kept


def _solve(recipe: Recipe) -> list[Design]:
    from lmeff.models.budget.search import solve_budget  # numpy, which no other recipe needs

    # The cases of a sweep ask for the same shapes again and again.
    settings = recipe.model_dump_json(include={"model", "tokenizer", "batch", "objective"})
    asked = f"{settings} {said_fields(recipe.model)}"
    if asked not in _FOUND:
        _FOUND[asked] = solve_budget(recipe, _count)
    return _FOUND[asked]


def _count(recipe: Recipe) -> tuple[int, int]:
    parameters = FAMILIES[recipe.model.family].of_recipe(recipe).count_parameters()
    return parameters.total, parameters.embedding


def check_family(resolved: Resolved) -> None:
    """Raises InputError with a line, which names file and line, for each mistake in a model that only building it shows."""
    try:
        family_of(resolved.recipe)
    except InputError as error:
        parts = (mistake.partition(": ") for mistake in error.mistakes)
        raise InputError(*(resolved.line_of(key, text) for key, _, text in parts)) from None


def family_of_config(config: "PreTrainedConfig") -> type[Family] | None:
    """The family of a configuration; None for an architecture that no recipe can name."""
    named = next((family for family in FAMILIES.values() if family.model_type == config.model_type), None)
    return named or (Auto if Auto.knows(config) else None)


__all__ = [
    "FAMILIES",
    "Auto",
    "Bert",
    "Family",
    "Gpt2",
    "Gptj",
    "Llama",
    "Mamba2",
    "ModernBert",
    "Parameters",
    "XLNet",
    "check_family",
    "designs_of",
    "family_of",
    "family_of_config",
    "solved",
    "with_shape",
]
