"""Which file the name of a recipe means."""

import os
from difflib import get_close_matches

from lmeff.shipped import find_shipped, shipped_names


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
    name = os.path.basename(path).removesuffix(".yaml")
    close = get_close_matches(name, [one for one in shipped_names("recipes") if not one.startswith("base/")], 1)
    return f"; did you mean '{close[0]}', which comes with lmeff?" if close else ""


def _shipped(name: str) -> str | None:
    found = find_shipped("recipes", name)
    if found is None:
        return None
    inside = found.is_relative_to(os.getcwd())
    return os.path.relpath(found) if inside else str(found)
