"""From YAML files and overrides on the command line to a validated recipe that knows where every value came from."""

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lmeff.errors import InputError
from lmeff.paths import expanded
from lmeff.quantities import format_count, parse_count
from lmeff.recipe.checks import cross_check
from lmeff.recipe.files import find_base, find_recipe, read_layer
from lmeff.recipe.input_paths import resolve_paths
from lmeff.recipe.mistakes import as_lines, mistakes_of
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.fields import Section
from lmeff.recipe.sections.training import check_training
from lmeff.recipe.wording import one_line
from lmeff.recipe.yaml_lines import COMMAND_LINE, MAX_DEPTH, KeyPath, Layer, Mark, Mistake, read_yaml

SectionType = TypeVar("SectionType", bound=BaseModel)

_MAX_FILES = 50
_LENGTHS = ("batch", "sequence_lengths")
"""The only mapping that is replaced as a whole where a file or an override gives it again: two schedules of lengths that were
merged would be a third one, which nobody wrote."""
_SECRET = re.compile(r"(token|password|secret|key)$", re.IGNORECASE)


@dataclass(frozen=True)
class Resolved:
    """A recipe after `extends`, overrides and defaults."""

    recipe: Recipe
    values: dict[str, Any]
    """All values as plain data, with defaults, but without any null that nobody wrote."""
    provenance: dict[str, str]
    """Where each value came from, by dotted key: `FILE:LINE`, `command line: KEY=VALUE` or `default`."""
    sources: list[Path]
    """The files that were read, bases before what extends them."""

    def line_of(self, key: str, text: str) -> str:
        """What is wrong with the value of a dotted key, or of the first key under it, as the line that a user sees."""
        inner = (place for name, place in self.provenance.items() if name.startswith(f"{key}."))
        place = self.provenance.get(key) or next(inner, "default")
        names_key = place.startswith(COMMAND_LINE) and place.removeprefix(COMMAND_LINE).partition("=")[0] == key
        return f"{place}: {text}" if names_key else f"{place}: {key}: {text}"

    def with_model(self, fields: Mapping[str, int]) -> "Resolved":
        """The same recipe with fields of `model:` that were found for its budget, which is where they come from."""
        recipe = self.recipe.model_copy(update={"model": self.recipe.model.model_copy(update=dict(fields))})
        place = self.provenance["model.budget.parameters"]
        provenance = {**self.provenance, **{f"model.{name}": place for name in fields}}
        return replace(self, recipe=recipe, values=_plain(recipe), provenance=provenance)

    def with_values(self, changed: Mapping[str, Any], place: str) -> "Resolved":
        """With other values of keys such as `name` or `paths.outputs`, which come from `place`. They are not checked."""
        recipe = self.recipe
        for key, value in changed.items():
            section, _, name = key.rpartition(".")
            part = getattr(recipe, section).model_copy(update={name: value}) if section else value
            recipe = recipe.model_copy(update={section or name: part})
        return Resolved(recipe, _plain(recipe), self.provenance | dict.fromkeys(changed, place), self.sources)

    @contextmanager
    def naming_lines(self) -> Iterator[None]:
        """An InputError from inside whose mistakes begin with a key of the recipe names file and line, too."""
        try:
            yield
        except InputError as error:
            parts = [mistake.partition(": ") for mistake in error.mistakes]
            known = {name for place in self.provenance for name in (place, place.rpartition(".")[0])}
            lines = (self.line_of(key, text) if key in known else f"{key}{colon}{text}" for key, colon, text in parts)
            raise InputError(*lines) from None

    def to_yaml(self) -> str:
        """The whole recipe as one YAML text without `extends`, which reads back to an equal recipe."""
        return yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


@dataclass(frozen=True)
class Setting:
    """A value that is set over those of a recipe's files, as `section.key=value` does on the command line."""

    key: KeyPath
    value: Layer
    """The value, and the marks of what is in it."""
    mark: Mark


class RecipeFiles:
    """The files of a recipe, which are read once, for several recipes that differ in some settings."""

    def __init__(self, path: str | Path) -> None:
        self.main = find_recipe(expanded(os.fspath(path)))
        self._merged = _Merged()
        self._merged.add_file(self.main, chain=())

    def resolve(self, settings: Iterable[Setting] = (), overrides: Iterable[str] = ()) -> Resolved:
        """The recipe with these settings, the later over the earlier, and the words of a command line over all of them. Raises
        InputError like `read_recipe`."""
        merged = copy.deepcopy(self._merged)
        for setting in settings:
            merged.add_value(setting.key, copy.deepcopy(setting.value), setting.mark)
        for word in overrides:
            merged.add_override(word)
        return _resolve(merged, self.main)


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Resolved:
    """Reads a recipe with everything it extends, then `section.key=value` overrides.

    A name without an ending that no file has, such as `quickstart`, means the recipe that comes with lmeff. Raises InputError
    with all mistakes at once, each one line that starts with `FILE:LINE:` or `command line:`.
    """
    return RecipeFiles(path).resolve(overrides=overrides)


def with_overrides(layer: Layer, overrides: Iterable[str]) -> Layer:
    """What a file says, with the words of a command line over it. Raises InputError for those that cannot be read."""
    merged = _Merged(copy.deepcopy(layer.values), dict(layer.marks), list(layer.mistakes))
    for word in overrides:
        merged.add_override(word)
    if merged.lines:
        raise InputError(*merged.lines)
    return Layer(merged.values, merged.marks, merged.mistakes)


def _resolve(merged: "_Merged", main: str) -> Resolved:
    values, marks, mistakes = merged.values, merged.marks, merged.mistakes
    mistakes += resolve_paths(values, marks)
    if isinstance(values.get("training"), dict):
        values["training"], problems = check_training(values["training"])
        mistakes += [Mistake(("training", name), text) for name, text in problems.items()]
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        of_values = mistakes_of(error, values, marks)
        # A key that seems to be missing may stand in a file that could not be read.
        mistakes += [one for one in of_values if merged.read_everything or not one.text.startswith("missing")]
    if merged.read_everything:
        mistakes += cross_check(values)
    lines = merged.lines + as_lines(mistakes, marks, merged.sources, main)
    if lines or recipe is None:
        raise InputError(*lines)
    # Defaults that depend on the objective are written out, so that a run's recipe says what it did under any later version.
    settings = recipe.objective.settings(recipe.objective_name)
    recipe = recipe.model_copy(update={"objective": recipe.objective.model_copy(update=settings)})
    plain_values = _plain(recipe)
    marks |= _marks_of_lengths(values, marks)
    provenance = {".".join(path): str(marks.get(path, "default")) for path in _leaves(plain_values)}
    return Resolved(recipe, plain_values, provenance, [Path(source) for source in merged.sources])


def read_section(kind: type[SectionType], path: str | Path | None, overrides: Sequence[str] = ()) -> SectionType:
    """Reads a YAML file of another kind than a recipe for training, with `extends` and overrides; without a path only the
    overrides. Raises InputError like `read_recipe`."""
    merged = _Merged()
    if path is not None:
        merged.add_file(find_recipe(expanded(os.fspath(path))), chain=())
    for word in overrides:
        merged.add_override(word)
    merged.mistakes += resolve_paths(merged.values, merged.marks)
    section, mistakes = None, merged.mistakes
    try:
        section = kind.model_validate(merged.values)
    except ValidationError as error:
        mistakes += mistakes_of(error, merged.values, merged.marks, kind)
    lines = merged.lines + as_lines(mistakes, merged.marks, merged.sources, str(path or "command line"))
    if lines or section is None:
        raise InputError(*lines)
    return section


def _plain(value: Any) -> Any:
    if isinstance(value, Section) and value.is_rare and value == type(value)():
        return {}
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        # A null that nobody wrote means that something else decides; in a file it would mean that the user wants none.
        said = {k: _plain(v) for k, v in fields.items() if v is not None or k in value.model_fields_set}
        return {k: v for k, v in said.items() if v != {} or not isinstance(fields[k], BaseModel)}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _marks_of_lengths(values: dict[str, Any], marks: dict[KeyPath, Mark]) -> dict[KeyPath, Mark]:
    """The marks of `batch.sequence_lengths`, by its keys as the recipe holds them (`5M`) instead of as they were written."""
    written = [(*_LENGTHS, key) for key in values["batch"].get("sequence_lengths") or {}]
    return {(*_LENGTHS, format_count(parse_count(path[-1]))): marks[path] for path in written if path in marks}


def _leaves(values: dict[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


@dataclass
class _Merged:
    """What has been read so far; later values have replaced earlier ones."""

    values: dict[str, Any] = field(default_factory=dict)
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Mistakes because of which something could not be read at all, as the lines that users see."""
    sources: list[str] = field(default_factory=list)
    num_files: int = 0

    @property
    def read_everything(self) -> bool:
        return not self.lines

    def add_file(self, path: str, chain: tuple[str, ...], said_by: str = "") -> None:
        """Merges a file over what there is, after the files that it extends. `chain` holds the files that led to this one,
        `said_by` the start of a message about it."""
        self.num_files += 1
        if self.num_files > _MAX_FILES + 1:  # the mistake has been told
            return
        try:
            if path in chain:
                raise InputError(f"goes in a circle: {' -> '.join((*chain[chain.index(path) :], path))}")
            if self.num_files > _MAX_FILES:
                raise InputError(f"more than {_MAX_FILES} files, counting a file each time it is named")
            layer = read_layer(path)
        except InputError as error:
            self.lines.append(one_line(f"{said_by}{error}"))
            return
        if not chain and "sweep" in layer.values:
            text = "this file is a sweep of recipes; `lmeff sweep list` shows them, and --index N names one"
            self.lines.append(one_line(f"{layer.marks['sweep',]}: sweep: {text}"))
            return
        mark = layer.marks.get(("extends",))
        for base in self._bases(layer):
            try:
                file = find_base(expanded(base), path)
            except InputError as error:
                self.lines.append(one_line(f"{mark}: extends: {error}"))
                continue
            self.add_file(file, (*chain, path), f"{mark}: extends: ")
        self._merge(layer)
        if path in self.sources:
            self.sources.remove(path)
        self.sources.append(path)

    def _bases(self, layer: Layer) -> list[str]:
        bases = layer.values.pop("extends", [])
        bases = [bases] if isinstance(bases, str) else bases
        if isinstance(bases, list) and all(isinstance(base, str) and base for base in bases):
            return bases
        self.lines.append(f"{one_line(layer.marks[('extends',)])}: extends: must be a file or a list of files")
        return []

    def add_override(self, word: str) -> None:
        """Merges one `section.key=value` of the command line."""
        key, equals, text = word.partition("=")
        parts = [part.strip() for part in key.split(".")]
        shown = "..." if _SECRET.search(key.strip()) else one_line(text, 80)
        label = f"{COMMAND_LINE}{one_line(key, 120)}{equals}{shown}"
        mark = Mark(label, text=text)
        problem = None
        if not equals:
            problem = "has no '='; write section.key=value, such as optimizer.learning_rate=1e-3"
        elif not all(parts) or len(parts) > MAX_DEPTH:
            problem = "must name a key, such as optimizer.learning_rate=1e-3"
        elif parts[0] == "extends":
            problem = "files are extended in a file, not on the command line"
        if problem:
            self.mistakes.append(Mistake((), problem, mark))
            return
        try:
            layer = read_yaml(text, label, lines=False)
        except InputError as error:
            self.lines.append(one_line(error))
            return
        self.add_value(tuple(parts), layer, mark)

    def add_value(self, key: KeyPath, value: Layer, mark: Mark) -> None:
        """Merges one value under its key."""
        self._merge(self._nested(value, key, mark), is_one_length=key[:-1] == _LENGTHS)

    def _nested(self, layer: Layer, parts: KeyPath, mark: Mark) -> Layer:
        """The layer of an override's value as a layer of a whole file, with the value under its key."""
        nested = Layer(layer.values, {parts + path: m for path, m in layer.marks.items()})
        nested.mistakes = [Mistake(parts + m.path, m.text, m.mark) for m in layer.mistakes]
        there: Any = self.values
        for length, part in enumerate(parts, start=1):
            there = there.get(part) if isinstance(there, dict) else None
            # A section that a file has begun keeps the line that it has there.
            if length == len(parts) or not isinstance(there, dict):
                nested.marks[parts[:length]] = mark
        for part in reversed(parts):
            nested.values = {part: nested.values}
        return nested

    def _merge(self, layer: Layer, is_one_length: bool = False) -> None:
        """`is_one_length`: the layer is an override of a single key of `batch.sequence_lengths`, which leaves the others."""
        batch = layer.values.get("batch")
        if not is_one_length and isinstance(batch, dict) and _LENGTHS[1] in batch:
            self._forget_lengths()
        _merge_under(self.values, layer.values)
        self.marks |= layer.marks
        self.mistakes += layer.mistakes

    def _forget_lengths(self) -> None:
        if isinstance(batch := self.values.get("batch"), dict):
            batch.pop(_LENGTHS[1], None)
        for path in [path for path in self.marks if path[:2] == _LENGTHS]:
            del self.marks[path]


def _merge_under(values: dict[str, Any], over: dict[str, Any]) -> None:
    """Mappings merge; anything else is replaced."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge_under(values[key], value)
        else:
            values[key] = value
