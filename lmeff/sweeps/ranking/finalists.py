"""The sweep of those that go on: the cases of another one that may be the best, with everything that made them."""

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lmeff.errors import InputError
from lmeff.files import write_text
from lmeff.recipe.files import find_recipe
from lmeff.recipe.input_paths import seen_from
from lmeff.recipe.yaml_lines import read_yaml
from lmeff.shipped import find_shipped, shipped_names
from lmeff.sweeps.cases import Case, Sweep
from lmeff.sweeps.reading import SweepText, read_text

_OF_THE_FOLDER = "paths.outputs"
"""The key that a sweep's file cannot set: it stays a word of the command line."""


def write_finalists(path: Path, sweep: Sweep, words: Sequence[str], ranking: dict[str, Any], top: int) -> list[str]:
    """Writes a sweep of the cases that may be the best, `top` of them at the most, with the seeds of the sweep; returns their
    names. `words` are those of the command line that the sweep was read with.

    Raises InputError for a recipe with lists on the command line, which is no sweep's file, and for a file that is there.
    """
    if path.exists():
        raise InputError(f"--write {path}: is there already; remove it, or name another file")
    written = yaml.safe_load(Path(find_recipe(sweep.file)).read_text(encoding="utf-8"))
    if "sweep" not in written:
        raise InputError(f"--write: {sweep.file} is no sweep's file; write the lists of the command line into one")
    text = read_text(sweep.file, words)
    cases = {case.name: case for case in sweep.cases}
    chosen = [row["case"] for row in ranking["rows"] if not row["differs"]][:top]
    study = {
        "sweep": f"{sweep.name}_finalists",
        "recipe": _shipped_name(text.recipe.main) or os.path.relpath(text.recipe.main, path.parent),
        "seeds": sweep.seeds,
        "axes": {"finalist": {name: _settings(cases[name], text, path) for name in chosen}},
    }
    write_text(path, yaml.safe_dump(study, sort_keys=False, allow_unicode=True))
    return chosen


def _shipped_name(recipe: str) -> str | None:
    """What a recipe that comes with lmeff is called in any folder, such as `allocation/llama_10m`."""
    there = Path(recipe).resolve()
    return next((name for name in shipped_names("recipes") if find_shipped("recipes", name) == there), None)


def words_that_remain(words: Sequence[str]) -> list[str]:
    """Those that the finalists' sweep needs on its command line again."""
    return [word for word in words if _key(word) == _OF_THE_FOLDER]


def _settings(case: Case, text: SweepText, path: Path) -> dict[str, Any]:
    """All that a case sets beside the sweep's recipe, by its axes and by words of the command line, as the case has it."""
    values = seen_from(str(path.parent), copy.deepcopy(case.resolved.values))
    values["publish"].pop("repository", None)  # to which the sweep may have added the case: it counts as it was written
    written = {**dict(_set_by_axes(case, text)), **dict(_set_by_words(text.overrides))}
    return {key: _value_at(values, key, value) for key, value in written.items() if key != _OF_THE_FOLDER}


def _set_by_axes(case: Case, text: SweepText) -> Iterator[tuple[str, Any]]:
    for axis in text.axes:
        named = [choice for choice in axis.choices if choice.is_named and choice.values.items() <= case.values.items()]
        if named:
            yield from ((".".join(setting.key), setting.value.values) for setting in named[0].settings)
        else:
            yield from ((key, case.values[key]) for key in axis.keys)


def _set_by_words(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        yield _key(word), read_yaml(word.partition("=")[2], word, lines=False).values


def _key(word: str) -> str:
    return ".".join(part.strip() for part in word.partition("=")[0].split("."))


def _value_at(values: Any, key: str, written: Any) -> Any:
    """The value of a key as the recipe has it; as it was written where the recipe leaves it out, as a section of
    defaults."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return copy.deepcopy(written)  # YAML would write a list twice as an alias
        values = values[part]
    return values
