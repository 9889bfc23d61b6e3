"""Paths in recipes: `~` and variables are expanded, and inputs are looked for beside the file that names them."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from lmeff.errors import InputError
from lmeff.paths import expanded
from lmeff.recipe.yaml_lines import KeyPath, Mark, Mistake

INPUTS = (
    ("corpus", "paths", "*"),
    ("corpus", "dev_paths", "*"),
    ("corpus", "file"),
    ("corpus", "decontaminate", "*"),
    ("corpus", "sources", "*", "paths", "*"),
    ("evaluation", "paths", "*"),
    ("evaluation", "include_path"),
    ("tasks", "*", "files", "*"),
)
"""Keys of recipes, and of recipes for fine-tuning, whose values are read."""
WORKPLACES = (("paths", "outputs"), ("paths", "data"))
"""Keys whose values are relative to the working directory."""

_looked_beside: dict[str, str] = {}
"""Relative path that was not found beside the file that names it -> that file."""

_TOLD = "LMEFF_TOLD_INPUTS"
"""Of two inputs with one name those that were chosen and told: in the environment, so that the processes of a run know it."""


def beside(path: str, file: str) -> str:
    """An input that `file` names: beside that file if it is there, else in the working directory. Raises InputError."""
    here = os.path.join(os.path.dirname(file), path)
    if _is_there(here):
        return _chosen(here, path, file)
    path = expanded(path)
    if os.path.isabs(path):
        return path
    here = os.path.join(os.path.dirname(file), path)
    if _is_there(here):
        return _chosen(here, path, file)
    if os.path.dirname(file):
        _looked_beside[path] = file
    return path


def _chosen(here: str, path: str, file: str) -> str:
    """`here`, beside the file; says so where the working directory has another input of that name."""
    told = os.environ.get(_TOLD, "").split(os.pathsep)
    is_new = os.path.abspath(here) not in told and os.environ.get("RANK", "0") == "0"
    if is_new and not os.path.isabs(path) and _is_there(path) and _found(path) != _found(here):
        os.environ[_TOLD] = os.pathsep.join([*filter(None, told), os.path.abspath(here)])
        print(f"{file}: {path}: {here} is read, and not that of the working directory", file=sys.stderr, flush=True)
    return here


def _found(path: str) -> list[str]:
    """What a path stands for, by where it really is."""
    return sorted(map(os.path.realpath, [path] if os.path.lexists(path) else glob.iglob(path, recursive=True)))


def _is_there(path: str) -> bool:
    if os.path.lexists(path):
        return True
    return glob.has_magic(path) and next(glob.iglob(path, recursive=True), None) is not None


def where_looked(path: str) -> str:
    """Added to the message that a path is not there: `; looked beside exp/a.yaml and in the working directory, /home/x`."""
    if os.path.isabs(path):
        return ""
    said_by = f"beside {_looked_beside[path]} and " if path in _looked_beside else ""
    return f"; looked {said_by}in the working directory, {os.getcwd()}"


def settle_paths(values: dict[str, Any], marks: dict[KeyPath, Mark]) -> Iterator[Mistake]:
    """Replaces the paths in a recipe's values by what they mean where they are written; yields what is wrong."""
    for pattern in INPUTS + WORKPLACES:
        for holder, key, path in _matches(values, pattern):
            mark = _mark_of(path, marks)
            try:
                if pattern in INPUTS and mark is not None and mark.line is not None:
                    holder[key] = beside(holder[key], mark.source)
                else:
                    holder[key] = expanded(holder[key])
            except InputError as error:
                yield Mistake(path, str(error))


def settle_description(section: dict[str, Any], file: str) -> None:
    """The same for the description of a corpus in a file of its own. Raises InputError."""
    for pattern in INPUTS:
        for holder, key, _ in _matches({"corpus": section}, pattern):
            holder[key] = beside(holder[key], file)


def _matches(values: Any, pattern: Sequence[str], path: KeyPath = ()) -> Iterator[tuple[Any, Any, KeyPath]]:
    """(mapping or list, key in it, path of the value) of every text that a pattern names."""
    first, *rest = pattern
    if isinstance(values, dict):
        found = list(values) if first == "*" else [first] if first in values else []
    else:
        found = range(len(values)) if first == "*" and isinstance(values, list) else []
    for key in found:
        here = (*path, str(key))
        if rest:
            yield from _matches(values[key], rest, here)
        elif isinstance(values[key], str) and values[key]:
            yield values, key, here


def _mark_of(path: KeyPath, marks: dict[KeyPath, Mark]) -> Mark | None:
    return next((marks[path[:length]] for length in range(len(path), 0, -1) if path[:length] in marks), None)
