"""Which settings of a recipe are no longer those that a run began with, and what each change means to that run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from lmeff.recipe.reading import Resolved
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.batch import by_tokens
from lmeff.recipe.sections.fields import OnResume, Section, TextPath
from lmeff.recipe.sections.objective import Objective
from lmeff.recipe.sections.training import DECIDE_NOTHING
from lmeff.recipe.yaml_lines import KeyPath

_OBJECTIVE: KeyPath = ("objective", "name")
_HELD_OUT: KeyPath = ("evaluation", "dev_tokens")


@dataclass(frozen=True)
class Change:
    """A setting with another value than before."""

    path: KeyPath
    before: Any
    after: Any
    on_resume: OnResume
    is_moved_text: bool
    """Both values name text files of the same names: the text may have been moved, or be seen from another folder."""

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def is_of_losses(self) -> bool:
        """Whether it only changes over how much text held-out losses are taken."""
        return self.path == _HELD_OUT

    def __str__(self) -> str:
        return f"{self.key} was {self.before}, is now {self.after}"


def changes_since(kept: Mapping[str, Any], resolved: Resolved) -> list[Change]:
    """The changes that a run must know of, sorted by key. `kept` is the content of the `recipe.yaml` that it began with."""
    recipe = resolved.recipe
    before, after = _flat(_as_written_now(kept)), _flat(yaml.safe_load(resolved.to_yaml()))
    # A setting that came into lmeff after the run began had its default then.
    before |= {path: _default(recipe, path) for path in after.keys() - before.keys()}
    for flat in (before, after):
        # Naming the family's own objective is no change.
        if flat.get(_OBJECTIVE) == recipe.model.objectives[0]:
            flat[_OBJECTIVE] = None
        # Nor is saying what a key is without being said.
        said = {key: flat.get(("objective", key)) for key in Objective.own_keys}
        settings = Objective.model_validate(said).settings(recipe.objective_name)
        flat |= {("objective", key): value for key, value in settings.items()}
    changes = []
    for path in sorted(before.keys() | after.keys(), key=".".join):
        old, new = before.get(path), after.get(path)
        on_resume = on_resume_of(recipe, path)
        if old != new and on_resume is not OnResume.FREE:
            changes.append(Change(path, old, new, on_resume, _is_moved_text(recipe, path, old, new)))
    return changes


def on_resume_of(recipe: Recipe, path: KeyPath) -> OnResume:
    """What another value of the setting at `path` means to a run of the recipe that has begun. A key that the section does not
    know, which a recipe of another version may have, counts as its other keys do."""
    section, name, *_ = *path, ""
    if section == "training" and name in DECIDE_NOTHING:
        return OnResume.FREE
    if path == _HELD_OUT and recipe.looks_at_held_out_loss:
        return OnResume.FIXED
    holder, field = _field_at(recipe, path)
    said = [one for one in (field.metadata if field else ()) if isinstance(one, OnResume)]
    return said[0] if said else holder.on_resume


def _field_at(recipe: Recipe, path: KeyPath) -> tuple[Section, FieldInfo | None]:
    """The innermost section that `path` leads through, and its field; None for a field that it does not have."""
    holder: Section = recipe
    field: FieldInfo | None = None
    value: Any = recipe
    for name in path:
        if isinstance(value, Section):
            holder, field = value, type(value).model_fields.get(name)
            value = getattr(value, name) if field else None
        elif isinstance(value, dict):  # such as `corpus.sources`, whose names are the user's
            value = value.get(name)
    return holder, field


def _default(recipe: Recipe, path: KeyPath) -> Any:
    """What a setting is when a recipe does not name it; None for one that has no default."""
    section: Any = recipe
    for name in path[:-1]:
        section = getattr(section, name, None)
    field = type(section).model_fields.get(path[-1]) if isinstance(section, Section) else None
    return None if field is None or field.is_required() else field.get_default()


def _is_moved_text(recipe: Recipe, path: KeyPath, before: Any, after: Any) -> bool:
    _, field = _field_at(recipe, path)
    if field is None or not any(isinstance(one, TextPath) for one in field.metadata):
        return False
    old, new = (
        [PurePath(file).name for file in ([value] if isinstance(value, str) else value or [])]
        for value in (before, after)
    )
    return old == new


def _as_written_now(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Older versions kept the keys of `batch.sequence_lengths` as they were written."""
    batch = kept["batch"]
    lengths = batch.get("sequence_lengths")
    return {**kept, "batch": {**batch, "sequence_lengths": by_tokens(lengths)} if lengths else batch}


def _flat(values: Mapping[str, Any], path: KeyPath = ()) -> dict[KeyPath, Any]:
    flat: dict[KeyPath, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, (*path, key))
        else:
            flat[*path, key] = value
    return flat
