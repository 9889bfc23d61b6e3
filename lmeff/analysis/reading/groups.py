"""Runs of one recipe that differ in their seed only, and names that tell such groups apart."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from lmeff.analysis.reading.runs import Run
from lmeff.errors import InputError


class Group(NamedTuple):
    label: str
    runs: tuple[Run, ...]
    """In the order of their seeds."""


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Groups runs by recipe without seed and paths. The same seed twice makes two groups: that is no second sample."""
    groups: dict[str, list[list[Run]]] = {}
    for run in runs:
        alike = groups.setdefault(recipe_key(run), [])
        for members in alike:
            if run.seed not in {member.seed for member in members}:
                members.append(run)
                break
        else:
            alike.append([run])
    ordered = [tuple(sorted(each, key=lambda run: run.seed)) for alike in groups.values() for each in alike]
    return [Group(label, each) for label, each in zip(_labels(ordered), ordered, strict=True)]


def recipe_key(run: Run) -> str:
    """What runs share that differ in their seed only."""
    recipe = {key: value for key, value in run.recipe.items() if key not in ("seed", "paths")}
    return json.dumps([run.name, run.source, recipe], sort_keys=True, default=str)


def check_one_unit(runs: Sequence[Run]) -> None:
    """Raises InputError when some runs count tokens and others words: they cannot share an axis."""
    one_of = {run.unit: run for run in runs}
    if len(one_of) > 1:
        units = ", ".join(f"{run.name} counts {unit}" for unit, run in one_of.items())
        raise InputError(f"these cannot be drawn along one axis: {units}; draw them apart")


def _labels(groups: list[tuple[Run, ...]]) -> list[str]:
    """The shortest names that tell the groups apart: name, name and seeds, then with the folder they lie in."""
    forms = []
    for runs in groups:
        seeds = ", ".join(str(run.seed) for run in runs)
        name = runs[0].name
        named = f"{name}, seed{'s' if len(runs) > 1 else ''} {seeds}"
        forms.append((name, named, f"{runs[0].folder.resolve().parents[1].name}/{named}"))
    labels: list[str] = []
    for form in forms:
        unique = [text for level, text in enumerate(form) if sum(other[level] == text for other in forms) == 1]
        label = unique[0] if unique else form[-1]
        copies = labels.count(label)
        labels.append(f"{label} ({copies + 1})" if copies else label)
    return labels
