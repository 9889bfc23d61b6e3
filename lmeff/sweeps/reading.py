"""A sweep as it is written: a YAML file, or a recipe with lists on the command line."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.paths import expanded
from lmeff.recipe.files import find_base, find_recipe, read_layer
from lmeff.recipe.mistakes import as_lines
from lmeff.recipe.reading import RecipeFiles, Setting, with_overrides
from lmeff.recipe.sections.fields import check_name
from lmeff.recipe.wording import did_you_mean, one_line, show
from lmeff.recipe.yaml_lines import COMMAND_LINE, KeyPath, Layer, Mark, Mistake, read_yaml
from lmeff.sweeps.axes import Axis, chosen, part_of, plain_axis, read_axes, read_exclusions, takes_list, wrong_key
from lmeff.sweeps.ranking.section import Ranking, read_ranking

KEYS = ("sweep", "recipe", "seeds", "axes", "zip", "exclude", "ranking")


@dataclass
class SweepText:
    """What a sweep says, before its cases are made."""

    file: str
    """The sweep, or the recipe that the command line makes one of."""
    name: str | None
    """None: as the recipe is called."""
    recipe: RecipeFiles
    seeds: list[Setting] = field(default_factory=list)
    axes: list[Axis] = field(default_factory=list)
    exclusions: list[dict[str, Any]] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    """Words of the command line that hold for all cases."""
    choosing: list[str] = field(default_factory=list)
    """Words in place of the file's own seeds, or of the values of one of its axes: they choose what is run."""
    ranking: Ranking = field(default_factory=Ranking)
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    """Of everything in the file."""
    mark: Mark = field(default_factory=lambda: Mark(""))
    """Where its name stands."""


def is_sweep(file: str, words: Sequence[str]) -> bool:
    """Whether a file is a sweep, or the words of a command line make one of a recipe."""
    return _is_sweep_file(file) or any(_axis_of(word) is not None for word in words if not _sets_ranking(word))


def _is_sweep_file(file: str) -> bool:
    try:
        return not set(KEYS).isdisjoint(read_layer(find_recipe(expanded(file))).values)
    except InputError:  # told by whoever reads it as a recipe
        return False


def read_text(file: str, words: Sequence[str]) -> SweepText:
    """A sweep, or a recipe with lists on the command line. Raises InputError with all mistakes at once."""
    path = find_recipe(expanded(os.fspath(file)))
    layer = read_layer(path)
    if "sweep" not in layer.values and not set(KEYS).isdisjoint(layer.values):
        raise InputError(f"{path}: sweep: missing; the name of the sweep, and of its folder")
    of_ranking = [word for word in words if _sets_ranking(word)]
    text = (
        _read_file(path, with_overrides(layer, of_ranking))
        if "sweep" in layer.values
        else _read_words(path, with_overrides(Layer({}), of_ranking))
    )
    for word in words:
        if word not in of_ranking:
            _add_word(text, word)
    return text


def _sets_ranking(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key.split(".")[0].strip() == "ranking"


def _read_words(path: str, layer: Layer) -> SweepText:
    """A recipe whose lists stand on the command line, where its ranking may, too."""
    mistakes = list(layer.mistakes)
    ranking = read_ranking(layer, mistakes)
    if mistakes:
        raise InputError(*as_lines(mistakes, layer.marks, [], path))
    return SweepText(path, None, RecipeFiles(path), ranking=ranking, marks=layer.marks, mark=Mark(path))


def _read_file(path: str, layer: Layer) -> SweepText:
    mistakes = list(layer.mistakes)
    mistakes += [Mistake((key,), _unknown(key)) for key in layer.values if key not in KEYS]
    name, recipe = layer.values["sweep"], layer.values.get("recipe")
    try:
        check_name(name if isinstance(name, str) else "")
    except ValueError as error:
        mistakes.append(Mistake(("sweep",), str(error)))
    if not isinstance(recipe, str) or not recipe:
        text = (
            "missing; the recipe of which the cases are made"
            if recipe is None
            else f"must be a file, not {show(recipe)}"
        )
        mistakes.append(Mistake(("recipe",), text))
    axes = read_axes(layer, mistakes)
    exclusions = read_exclusions(layer, axes, mistakes)
    seeds = _seeds(part_of(layer, ("seeds",)), layer.marks["seeds",], mistakes) if "seeds" in layer.values else []
    ranking = read_ranking(layer, mistakes)
    if mistakes:
        raise InputError(*as_lines(mistakes, layer.marks, [path], path))
    assert isinstance(recipe, str)
    files, mark = _files(layer, recipe, path), layer.marks["sweep",]
    return SweepText(path, name, files, seeds, axes, exclusions, ranking=ranking, marks=layer.marks, mark=mark)


def _files(layer: Layer, recipe: str, path: str) -> RecipeFiles:
    mark = layer.marks["recipe",]
    try:
        file = find_base(expanded(recipe), path)
        if not Path(file).suffix and not os.path.exists(file):
            file = find_recipe(file)
        read_layer(file)
    except InputError as error:
        raise InputError(f"{mark}: recipe: {error}") from None
    return RecipeFiles(file)


def _unknown(key: str) -> str:
    return f"unknown key{did_you_mean(key, KEYS) or '; known here: ' + ', '.join(KEYS)}; keys of the recipe stand under 'axes:'"


def _seeds(values: Layer, mark: Mark, mistakes: list[Mistake]) -> list[Setting]:
    if not isinstance(values.values, list) or not values.values:
        mistakes.append(Mistake(("seeds",), f"must be a list such as [0, 1, 2], not {show(values.values)}", mark))
        return []
    for index, seed in enumerate(values.values):
        if seed in values.values[:index]:
            mistakes.append(
                Mistake(("seeds", str(index)), f"{show(seed)} is there twice", values.marks.get((str(index),), mark))
            )
    return [
        Setting(("seed",), part_of(values, (str(index),)), values.marks.get((str(index),), mark))
        for index in range(len(values.values))
    ]


# ---- the command line


def _axis_of(word: str) -> Layer | None:
    """The values of a word such as `model.size=[20m,60m]`; None for one that is no axis: `anchors.tokens=[0,1M]` is a value."""
    key, equals, text = word.partition("=")
    if not equals or "[" not in text:
        return None
    try:
        layer = read_yaml(text, f"{COMMAND_LINE}{one_line(word, 160)}", lines=False)
    except InputError:
        return None
    values = layer.values
    if not isinstance(values, list) or not values or any(isinstance(value, dict) for value in values):
        return None
    if takes_list(key.strip()):
        return layer if all(isinstance(value, list) for value in values) else None
    return layer


def _add_word(text: SweepText, word: str) -> None:
    """An override for all cases, or an axis, which takes the place of the file's axis of that key, or chooses some of its named
    values. Raises InputError."""
    key, equals, value = (part.strip() for part in word.partition("="))
    mark = Mark(f"{COMMAND_LINE}{one_line(word, 160)}", text=value)
    owner = next((axis for axis in text.axes if key in axis.keys or key in axis.set_keys), None)
    layer = _axis_of(word)
    if layer is None and equals and (key == "seed" or owner is not None):
        single = read_yaml(value, mark.source, lines=False)
        layer = Layer([single.values], {("0", *path): one for path, one in single.marks.items()})
    if layer is not None and (owner is not None or (key == "seed" and text.seeds)):
        text.choosing.append(word)
    if key == "name" and text.name is not None:
        raise InputError(f"{mark}: a case is named by its values, and their folder by 'sweep:' in {text.file}")
    if layer is None:
        text.overrides.append(word)
    elif key == "seed":
        mistakes: list[Mistake] = []
        text.seeds = _seeds(layer, mark, mistakes)
        if mistakes:
            raise InputError(*as_lines(mistakes, {}, [], text.file))
    elif owner is None:
        if problem := wrong_key(key):
            raise InputError(f"{mark}: {problem}")
        text.axes.append(plain_axis(key, layer, mark))
    else:
        text.axes[text.axes.index(owner)] = _narrowed(owner, key, layer, mark, text.file)


def _narrowed(owner: Axis, key: str, values: Layer, mark: Mark, file: str) -> Axis:
    """An axis of the file with values of the command line."""
    if owner.keys == (key,):
        return chosen(owner, values, mark) if owner.is_named else plain_axis(key, values, mark)
    advice = f"; {owner.keys[0]}=NAME chooses one of its values" if owner.is_named else ""
    raise InputError(
        f"{mark}: is set by the axis '{', '.join(owner.keys)}' of {file}, together with other keys{advice}"
    )
