"""Which file the name of a recipe means."""

import os
from difflib import get_close_matches

from lmeff.shipped import find_shipped, shipped_names

_SIMILARITY = 0.75
"""How alike two names must be for one to be suggested for the other. With `difflib`'s default of 0.6, nope.yaml suggests
recipe.yaml."""


def find_recipe(path: str | os.PathLike[str]) -> str:
    """The file of that name or, for a name without an ending that no file has, the recipe that comes with lmeff, such as
    `quickstart`. A name that is neither comes back as it is."""
    name = os.path.normpath(os.fspath(path))
    if os.path.splitext(name)[1] or os.path.isfile(name):
        return name
    if os.path.basename(name) == name and os.path.isfile(beside := f"{name}.yaml"):
        return beside
    return _shipped(name) or name


def find_base(base: str, extending: str) -> str:
    """The file that `extends: BASE` in the file `extending` means: one beside it, else one that comes with lmeff."""
    beside = os.path.normpath(os.path.join(os.path.dirname(extending), base))
    return beside if os.path.exists(beside) else _shipped(base) or beside


def suggest_file(path: str) -> str:
    """The end of a message that a recipe is not there: the file that was probably meant; empty when no name is near."""
    return _suggest_neighbor(path) or _suggest_shipped(path)


def _suggest_shipped(path: str) -> str:
    folder, name = os.path.split(path.removesuffix(".yaml"))
    in_folder = f"{os.path.basename(folder)}/{name}"  # such as base/llama
    shipped = shipped_names("recipes")
    close = get_close_matches(in_folder, [one for one in shipped if "/" in one], 1, _SIMILARITY) or get_close_matches(
        name, [one for one in shipped if "/" not in one], 1, _SIMILARITY
    )
    return f"; did you mean '{close[0]}', which comes with lmeff?" if close else ""


def _suggest_neighbor(path: str) -> str:
    """Of the files in the same folder. Empty when a shipped recipe has the very name."""
    folder, name = os.path.split(path)
    try:
        files = {os.path.splitext(one)[0]: one for one in os.listdir(folder or ".") if one.endswith((".yaml", ".yml"))}
    except (OSError, ValueError):
        return ""
    stem = os.path.splitext(name)[0][:200]
    if stem not in files and stem in shipped_names("recipes"):
        return ""
    close = get_close_matches(stem, files, 1, _SIMILARITY)
    return f"; did you mean '{os.path.join(folder, files[close[0]])}'?" if close else ""


def _shipped(name: str) -> str | None:
    path = find_shipped("recipes", name)
    if path is None:
        return None
    is_in_working_directory = path.is_relative_to(os.getcwd())
    return os.path.relpath(path) if is_in_working_directory else str(path)
