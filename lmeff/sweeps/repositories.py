"""Where the cases of a sweep go on the Hub: cases that would share a repository get their names into its name.

That is told from what the sweep's axes set, not from the cases that are read: further values, and words that choose some, leave
the repository of a case as it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any

from lmeff.errors import InputError
from lmeff.hub.names import hub_names, repository_template
from lmeff.plan import make_plan
from lmeff.recipe import Resolved
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.publish import DEFAULT_REPOSITORY
from lmeff.sweeps.axes import Axis, Choice, same_value

_SHOWN = {
    "corpus": "corpus.name",
    "size": "model.size",
    "vocab_size": "tokenizer.vocab_size",
    "family": "model.family",
    "objective": "objective.name",
}
"""By the words of a template, the keys whose values they show."""


def named_apart(cases: Sequence[tuple[str, Recipe]], axes: Sequence[Axis]) -> list[str | None]:
    """For every case, given by its name and recipe, the template of its repository with its name in it; None where the
    recipe's own template tells it from all others."""
    templates = [repository_template(recipe) for _, recipe in cases]
    owners: dict[str, set[str]] = defaultdict(set)
    repositories = [_repository(recipe) for _, recipe in cases]
    for (name, _), repository in zip(cases, repositories, strict=True):
        owners[repository].add(name)
    return [
        None if _shows(recipe, axes) and len(owners[repository]) == 1 else f"{template}-{name}"
        for (name, recipe), repository, template in zip(cases, repositories, templates, strict=True)
    ]


def hub_mistakes(resolved: Resolved) -> Iterable[str]:
    """What the Hub would say of the names of a run that goes there."""
    if resolved.recipe.publish.to != "hub":
        return ()
    from lmeff.hub.account import namespace

    try:
        hub_names(resolved.recipe, make_plan(resolved.recipe), namespace())
    except InputError as error:
        return [f"{resolved.provenance['publish.to']}: {mistake}" for mistake in error.mistakes]
    return ()


def _shows(recipe: Recipe, axes: Sequence[Axis]) -> bool:
    """Whether the name of a repository tells all values of all axes apart."""
    template = recipe.publish.repository
    words = {word for _, word, _, _ in Formatter().parse(template) if word}
    if template == DEFAULT_REPOSITORY:
        words |= {"family", "objective"}  # which are added where they are not the usual ones
    keys = [_SHOWN[word] for word in words if word in _SHOWN]
    return "name" in words or all(_shows_axis(keys, axis) for axis in axes)


def _shows_axis(keys: Sequence[str], axis: Axis) -> bool:
    shown = [_values(choice, keys) for choice in axis.written or axis.choices]
    pairs = ((one, other) for index, one in enumerate(shown) for other in shown[:index])
    return all(shown) and all(any(not same_value(one.get(key), other.get(key)) for key in keys) for one, other in pairs)


def _values(choice: Choice, keys: Sequence[str]) -> dict[str, Any]:
    said = {".".join(setting.key): setting.value.values for setting in choice.settings}
    return {key: said[key] for key in keys if key in said}


def _repository(recipe: Recipe) -> str:
    """The repository of a recipe, whatever the Hub would say to its name."""
    try:
        return hub_names(recipe, make_plan(recipe), "you").repository
    except InputError:
        return repository_template(recipe)
