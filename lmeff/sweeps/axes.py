"""The axes of a sweep: what may be written there, and the values that it means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmeff.errors import InputError
from lmeff.quantities import parse_number
from lmeff.recipe.mistakes import section_fields
from lmeff.recipe.reading import Setting
from lmeff.recipe.sections.training import check_training
from lmeff.recipe.wording import did_you_mean, show
from lmeff.recipe.yaml_lines import KeyPath, Layer, Mark, Mistake

_OWNED = {
    "seed": "seeds stand under 'seeds:'",
    "name": "a case is named by its values",
    "paths.outputs": "all cases of a sweep are in one folder; give it in the recipe, or on the command line",
    "extends": "files are extended in the recipe",
}
"""Keys of a recipe that cannot be an axis."""


@dataclass(frozen=True)
class Choice:
    """One value of an axis; of several lists that go together, one value of each."""

    values: dict[str, Any]
    """By the axis's keys: a plain value as it was written, or the name of a named one."""
    settings: tuple[Setting, ...]
    is_named: bool = False

    @property
    def mark(self) -> Mark | None:
        return self.settings[0].mark if self.settings else None


@dataclass(frozen=True)
class Axis:
    """What varies, and its values in the order of the file."""

    keys: tuple[str, ...]
    choices: tuple[Choice, ...]
    mark: Mark
    written: tuple[Choice, ...] = ()
    """All that the file gives, where words of the command line chose some of them."""

    @property
    def is_named(self) -> bool:
        """Whether its values have names."""
        return any(choice.is_named for choice in self.choices)

    @property
    def set_keys(self) -> set[str]:
        """Keys of the recipe that its values set."""
        return {".".join(setting.key) for choice in self.choices for setting in choice.settings}


def part_of(layer: Layer, path: KeyPath) -> Layer:
    """What stands at a path of a file, with the marks of what is in it."""
    values = layer.values
    for key in path:
        values = values[int(key)] if isinstance(values, list) else values[key]
    inside = {mark_path[len(path) :]: mark for mark_path, mark in layer.marks.items() if mark_path[: len(path)] == path}
    return Layer(values, {mark_path: mark for mark_path, mark in inside.items() if mark_path})


def read_axes(layer: Layer, mistakes: list[Mistake]) -> list[Axis]:
    """The axes of a file, first `axes:`, then `zip:`."""
    axes = []
    if _is_mapping(layer, ("axes",), mistakes, "a mapping of keys to their values, such as model.size: [20m, 60m]"):
        for key in layer.values["axes"]:
            axes += [axis] if (axis := _read_axis(layer, key, mistakes)) else []
    for index, group in enumerate(_list_of(layer, "zip", mistakes)):
        axes += [axis] if (axis := _read_zip(layer, index, group, mistakes)) else []
    mistakes += _set_twice(axes)
    return axes


def plain_axis(key: str, values: Layer, mark: Mark) -> Axis:
    """An axis of plain values, from a list."""
    choices = [_plain_choice(key, values, str(index), mark) for index in range(len(values.values))]
    return Axis((key,), tuple(choices), mark)


def _plain_choice(key: str, values: Layer, index: str, mark: Mark) -> Choice:
    setting = Setting(tuple(key.split(".")), part_of(values, (index,)), values.marks.get((index,), mark))
    return Choice({key: setting.value.values}, (setting,))


def _read_axis(layer: Layer, key: str, mistakes: list[Mistake]) -> Axis | None:
    path: KeyPath = ("axes", key)
    values = layer.values["axes"][key]
    if isinstance(values, dict) and values:
        choices = [_named_choice(layer, key, name, mistakes) for name in values]
        mistakes += _alike(key, [choice for choice in choices if isinstance(values[choice.values[key]], dict)])
        return Axis((key,), tuple(choices), layer.marks[path])
    if problem := wrong_key(key) or _wrong_list(values):
        mistakes.append(Mistake(path, problem))
        return None
    return plain_axis(key, part_of(layer, path), layer.marks[path])


def _named_choice(layer: Layer, axis: str, name: str, mistakes: list[Mistake]) -> Choice:
    path: KeyPath = ("axes", axis, name)
    settings, values = [], layer.values["axes"][axis][name]
    if not isinstance(values, dict):
        text = (
            f"must be the keys that this value sets, such as {{{axis}.name: ...}}, not {show(values)}; of plain values"
        )
        mistakes.append(Mistake(path, f"{text} write a list"))
        values = {}
    for key in values:
        if problem := wrong_key(key):
            mistakes.append(Mistake((*path, key), problem))
        settings.append(Setting(tuple(key.split(".")), part_of(layer, (*path, key)), layer.marks[*path, key]))
    return Choice({axis: name}, tuple(settings), is_named=True)


def _alike(axis: str, choices: Sequence[Choice]) -> Iterator[Mistake]:
    """Names of the same values, whose cases would be trained and compared as if they differed."""
    said = [{setting.key: setting.value.values for setting in choice.settings} for choice in choices]
    for place, ours in enumerate(said):
        for before, theirs in enumerate(said[:place]):
            if ours.keys() == theirs.keys() and all(same_value(ours[key], theirs[key]) for key in ours):
                name, first = (str(choices[at].values[axis]) for at in (place, before))
                yield Mistake(("axes", axis, name), f"sets the same as {first!r}, so their cases would not differ")
                break


def _read_zip(layer: Layer, index: int, group: Any, mistakes: list[Mistake]) -> Axis | None:
    path: KeyPath = ("zip", str(index))
    if not isinstance(group, dict) or not group:
        mistakes.append(Mistake(path, f"must be a mapping of keys to lists of equal length, not {show(group)}"))
        return None
    problems = [
        Mistake((*path, key), text) for key, one in group.items() if (text := wrong_key(key) or _wrong_list(one))
    ]
    lengths = {key: len(values) for key, values in group.items() if isinstance(values, list)}
    if not problems and len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        problems = [Mistake(path, f"lists that go together must be of equal length: {said}")]
    mistakes += problems
    if problems:
        return None
    columns = [plain_axis(key, part_of(layer, (*path, key)), layer.marks[*path, key]).choices for key in group]
    choices = []
    for row in zip(*columns, strict=True):
        values = {key: value for choice in row for key, value in choice.values.items()}
        choices.append(Choice(values, tuple(setting for choice in row for setting in choice.settings)))
    return Axis(tuple(group), tuple(choices), layer.marks[path])


def chosen(axis: Axis, names: Layer, mark: Mark) -> Axis:
    """An axis of named values, narrowed to some of them. Raises InputError for other names."""
    there = {str(choice.values[axis.keys[0]]): choice for choice in axis.choices}
    wanted = list(map(str, names.values))
    if wrong := next((name for name in wanted if name not in there), None):
        others = did_you_mean(wrong, list(there)) or f"; it has {', '.join(there)}"
        raise InputError(f"{mark}: {show(wrong)} is no value of the axis '{axis.keys[0]}'{others}")
    return replace(axis, choices=tuple(there[name] for name in wanted), written=axis.written or axis.choices)


def _set_twice(axes: Sequence[Axis]) -> Iterator[Mistake]:
    """Keys that two axes set, of which one would be without effect."""
    owners: dict[str, Axis] = {}
    for axis in axes:
        for key in sorted(axis.set_keys):
            above = [".".join(key.split(".")[:length]) for length in range(1, key.count(".") + 2)]
            clash = next((one for one in owners if one in above or one.startswith(f"{key}.")), None)
            if clash and owners[clash] is not axis:
                text = f"sets {key}, as the axis '{', '.join(owners[clash].keys)}' does"
                yield Mistake((*axis.keys,), text, axis.mark)
            owners.setdefault(key, axis)


def wrong_key(key: str) -> str | None:
    """What is wrong with a key as an axis."""
    if not all(part.strip() == part and part for part in key.split(".")):
        return "must name a key of a recipe, such as model.size"
    return _OWNED.get(key)


def _wrong_list(values: Any) -> str | None:
    if not isinstance(values, list):
        return f"must be a list of values, or a mapping of named ones, not {show(values)}"
    if not values:
        return "needs at least one value"
    if any(isinstance(value, dict) for value in values):
        return "a value of several keys needs a name: {NAME: {section.key: value, ...}, ...}"
    return None


def _is_mapping(layer: Layer, path: KeyPath, mistakes: list[Mistake], what: str) -> bool:
    values = layer.values.get(path[0])
    if values is not None and not isinstance(values, dict):
        mistakes.append(Mistake(path, f"must be {what}, not {show(values)}"))
    return isinstance(values, dict)


def _list_of(layer: Layer, key: str, mistakes: list[Mistake]) -> list[Any]:
    values = layer.values.get(key)
    if values is None:
        return []
    if isinstance(values, list):
        return values
    mistakes.append(Mistake((key,), f"must be a list of mappings, not {show(values)}"))
    return []


# ---- exclusions


def read_exclusions(layer: Layer, axes: Sequence[Axis], mistakes: list[Mistake]) -> list[dict[str, Any]]:
    """`exclude:`, each with values by the keys of axes; a list stands for any of its values."""
    known = [key for axis in axes for key in axis.keys]
    found = []
    for index, rule in enumerate(_list_of(layer, "exclude", mistakes)):
        path: KeyPath = ("exclude", str(index))
        if not isinstance(rule, dict) or not rule:
            mistakes.append(Mistake(path, f"must be a mapping of axes to values, not {show(rule)}"))
            continue
        wrong = [Mistake((*path, key), _no_axis(key, known)) for key in rule if key not in known]
        wrong += [Mistake((*path, key), _no_value(key, rule[key], axes)) for key in rule if key in known]
        wrong = [mistake for mistake in wrong if mistake.text]
        mistakes += wrong
        found += [] if wrong else [rule]
    return found


def is_excluded(values: dict[str, Any], rules: Sequence[dict[str, Any]]) -> bool:
    """Whether a case with these values of axes is left out."""
    return any(all(_is_any_of(values[key], wanted) for key, wanted in rule.items() if key in values) for rule in rules)


def _no_axis(key: str, known: Sequence[str]) -> str:
    return f"is no axis of this sweep{did_you_mean(key, known) or '; its axes: ' + ', '.join(known)}"


def _no_value(key: str, wanted: Any, axes: Sequence[Axis]) -> str:
    there = [choice.values[key] for axis in axes for choice in axis.choices if key in choice.values]
    missing = [one for one in _as_list(wanted) if not any(same_value(value, one) for value in there)]
    return f"{show(missing[0])} is none of the axis's values, {', '.join(map(show, there))}" if missing else ""


def _is_any_of(value: Any, wanted: Any) -> bool:
    return any(same_value(value, one) for one in _as_list(wanted)) or same_value(value, wanted)


def _as_list(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def same_value(one: Any, other: Any) -> bool:
    """Whether two values say the same: `8k` and `8000` do."""
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    try:
        return parse_number(one) == parse_number(other)
    except ValueError:
        return False


# ---- lists on the command line


def takes_list(key: str) -> bool:
    """Whether a key of a recipe may be a list, as `anchors.tokens` is."""
    section, _, name = key.rpartition(".")
    if section == "training":
        return not check_training({name: []})[1]
    fields = section_fields()
    field = (fields.get(section) or fields.get(f"{section.rpartition('.')[0]}.NAME") or {}).get(name)
    return field is not None and "list" in str(field.annotation)
