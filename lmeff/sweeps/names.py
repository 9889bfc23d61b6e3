"""What a case of a sweep is called: its values on the axes, in a form that is a folder's name and a part of a repository's.

A name depends on the sweep's axes and on the case's own values alone, so that more values, other seeds or another order leave
it as it is. The name of a repository does, too.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from lmeff.errors import InputError
from lmeff.hub.names import hub_names, repository_template
from lmeff.plan import make_plan
from lmeff.quantities import format_count
from lmeff.recipe import Resolved
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.publish import DEFAULT_REPOSITORY
from lmeff.sweeps.axes import Axis, Choice, same_value

_MAX_VALUE, _MAX_NAME = 32, 56
"""Characters; beyond them, a hash tells names apart."""


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last part, or as many of its last parts as tell it from the others: `model.size` is `size`."""
    short = {}
    for key in keys:
        parts = key.split(".")
        forms = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        is_own = (form for form in forms if not any(f".{other}".endswith(f".{form}") for other in others))
        short[key] = next(is_own, key)
    return short


def case_name(values: Mapping[str, Any], named: Sequence[str], short: Mapping[str, str]) -> str:
    """`tinystories_size-20m_vocab_size-8k`: the values by the axes' keys; those of `named` are names, which say enough."""
    words = [
        _slug(str(value), value) if key in named else f"{short[key]}-{_slug(_text(value), value)}"
        for key, value in values.items()
    ]
    name = re.sub(r"^[^A-Za-z0-9]+", "", "_".join(words))
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[: _MAX_NAME - 7].rstrip('-_.')}-{_hash(name)}"


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return format_count(value)
        case float():
            return f"{value:g}"
        case list():
            return "-".join(map(_text, value))
    return str(value)


def _slug(text: str, value: Any) -> str:
    """Letters, digits, `.`, `_` and single `-`. What is lost or cut is told apart by a hash of the value."""
    slug = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._]+", "-", text)).strip("-._")
    if slug == text and len(slug) <= _MAX_VALUE:
        return slug
    if isinstance(value, int | float | list) and len(slug) <= _MAX_VALUE and not re.search("[^-+0-9kMe.]", text):
        return slug  # such as -1 or a list of counts, whose signs are no loss
    return f"{slug[: _MAX_VALUE - 7].rstrip('-._')}-{_hash(value)}".strip("-")


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


# ---- repositories on the Hub


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
