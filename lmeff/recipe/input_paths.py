"""Paths in recipes: `~` and variables are expanded, and inputs are looked for beside the file that names them."""

import glob
import os
from collections.abc import Iterator, Sequence
from typing import Any

from lmeff.errors import InputError
from lmeff.logs import note
from lmeff.paths import expanded
from lmeff.recipe.yaml_lines import KeyPath, Mark, Mistake

_INPUTS = (
    ("corpus", "paths", "*"),
    ("corpus", "dev_paths", "*"),
    ("corpus", "file"),
    ("corpus", "decontaminate", "*"),
    ("corpus", "sources", "*", "paths", "*"),
    ("distillation", "teachers", "*"),
    ("curriculum", "reference"),
    ("evaluation", "paths", "*"),
    ("evaluation", "include_path"),
    ("tasks", "*", "files", "*"),
)
"""Keys of recipes, and of recipes for fine-tuning, that name what is read. `*` is any key or item."""
_OUTPUTS = (("paths", "outputs"), ("paths", "data"))
"""Keys whose values are relative to the working directory."""

_looked_beside: dict[str, str] = {}
"""For a relative path that is not beside the file that names it: that file."""

_TOLD = "LMEFF_TOLD_INPUTS"
"""Environment variable with the inputs of which a user was told that the working directory has another one of the same name. It
is in the environment so that the other processes of a run don't say it again."""


def find_input(path: str, file: str) -> str:
    """Where an input is that `file` names: beside that file if it is there, otherwise in the working directory. Raises
    InputError."""
    candidate = os.path.join(os.path.dirname(file), path)
    if _exists(candidate):  # also where its name really holds a `~` or a `$`
        return _taken_beside(candidate, path, file)
    path = expanded(path)
    if os.path.isabs(path):
        return path
    candidate = os.path.join(os.path.dirname(file), path)
    if _exists(candidate):
        return _taken_beside(candidate, path, file)
    if os.path.dirname(file):
        _looked_beside[path] = file
    return path


def _taken_beside(candidate: str, path: str, file: str) -> str:
    """`candidate`, which is beside the file. Tells the user once when the working directory has another input of that name."""
    told = os.environ.get(_TOLD, "").split(os.pathsep)
    is_new = os.path.abspath(candidate) not in told and os.environ.get("RANK", "0") == "0"
    if is_new and not os.path.isabs(path) and _exists(path) and _real_paths(path) != _real_paths(candidate):
        os.environ[_TOLD] = os.pathsep.join([*filter(None, told), os.path.abspath(candidate)])
        note(f"{file}: {path}: {candidate} is read, and not that of the working directory")
    return candidate


def _real_paths(pattern: str) -> list[str]:
    """The files that a path or a glob stands for, with links followed."""
    paths = [pattern] if os.path.lexists(pattern) else glob.iglob(pattern, recursive=True)
    return sorted(map(os.path.realpath, paths))


def _exists(pattern: str) -> bool:
    """Whether a path is there, or any file that a glob finds."""
    if os.path.lexists(pattern):
        return True
    return glob.has_magic(pattern) and next(glob.iglob(pattern, recursive=True), None) is not None


def where_looked(path: str) -> str:
    """The end of a message that a path is not there: `; looked beside exp/a.yaml and in the working directory, /home/x`."""
    if os.path.isabs(path):
        return ""
    beside = f"beside {_looked_beside[path]} and " if path in _looked_beside else ""
    return f"; looked {beside}in the working directory, {os.getcwd()}"


def resolve_paths(values: dict[str, Any], marks: dict[KeyPath, Mark]) -> Iterator[Mistake]:
    """Replaces every path in a recipe's values by the file that it means; yields what is wrong. A value of the command line
    stands in no file and is relative to the working directory."""
    for pattern in _INPUTS + _OUTPUTS:
        for holder, key, path in _texts_at(values, pattern):
            mark = _mark_of(path, marks)
            try:
                if pattern in _INPUTS and mark is not None and mark.line is not None:
                    holder[key] = find_input(holder[key], mark.source)
                else:
                    holder[key] = expanded(holder[key])
            except InputError as error:
                yield Mistake(path, str(error))


def seen_from(folder: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a recipe that was read, with inputs that are there named as a file in another folder has to name them. What
    is not there, such as a model on the Hub, stays."""
    for pattern in _INPUTS:
        for holder, key, _ in _texts_at(values, pattern):
            if not os.path.isabs(holder[key]) and _exists(holder[key]):
                holder[key] = os.path.relpath(holder[key], folder)
    return values


def resolve_description(section: dict[str, Any], file: str) -> None:
    """The same for the description of a corpus in a file of its own. Raises InputError."""
    for pattern in _INPUTS:
        for holder, key, _ in _texts_at({"corpus": section}, pattern):
            holder[key] = find_input(holder[key], file)


def _texts_at(values: Any, pattern: Sequence[str], path: KeyPath = ()) -> Iterator[tuple[Any, Any, KeyPath]]:
    """Every text whose keys fit the pattern: the mapping or list that holds it, its key in there, and its path."""
    first, *rest = pattern
    keys: list[Any] = []
    if isinstance(values, dict):
        keys = list(values) if first == "*" else [first] if first in values else []
    elif isinstance(values, list) and first == "*":
        keys = list(range(len(values)))
    for key in keys:
        inner = (*path, str(key))
        if rest:
            yield from _texts_at(values[key], rest, inner)
        elif isinstance(values[key], str) and values[key]:
            yield values, key, inner


def _mark_of(path: KeyPath, marks: dict[KeyPath, Mark]) -> Mark | None:
    """The mark of a key, or of the nearest section around it that has one."""
    return next((marks[path[:length]] for length in range(len(path), 0, -1) if path[:length] in marks), None)
