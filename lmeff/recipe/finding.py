"""Which file the name of a recipe means."""

import os
from difflib import get_close_matches

from lmeff.shipped import find_shipped, shipped_names

NEAR = 0.75
"""How alike names are (`difflib`) of which one may have been meant: `.6`, its default, finds recipe.yaml for nope.yaml."""


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


def close_to_shipped(path: str) -> str:
    """A hint for a recipe that is not there: the shipped one that was probably meant; empty when no name is near."""
    folder, name = os.path.split(path.removesuffix(".yaml"))
    inner = f"{os.path.basename(folder)}/{name}"  # such as base/llama
    names = shipped_names("recipes")
    close = get_close_matches(inner, [one for one in names if "/" in one], 1, NEAR) or get_close_matches(
        name, [one for one in names if "/" not in one], 1, NEAR
    )
    return f"; did you mean '{close[0]}', which comes with lmeff?" if close else ""


def close_to_written(path: str) -> str:
    """The same for files that lie beside it. The exact name of a shipped one comes before others than itself."""
    folder, name = os.path.split(path)
    try:
        files = {os.path.splitext(one)[0]: one for one in os.listdir(folder or ".") if one.endswith((".yaml", ".yml"))}
    except (OSError, ValueError):
        return ""
    stem = os.path.splitext(name)[0][:200]
    if stem not in files and stem in shipped_names("recipes"):
        return ""
    close = get_close_matches(stem, files, 1, NEAR)
    return f"; did you mean '{os.path.join(folder, files[close[0]])}'?" if close else ""


def _shipped(name: str) -> str | None:
    found = find_shipped("recipes", name)
    if found is None:
        return None
    inside = found.is_relative_to(os.getcwd())
    return os.path.relpath(found) if inside else str(found)
