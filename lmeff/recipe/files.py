"""Which file the name of a recipe means, and what is in it."""

import os
from difflib import get_close_matches

from lmeff.errors import InputError
from lmeff.recipe.yaml_lines import MAX_BYTES, Layer, read_yaml
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


def read_layer(path: str) -> Layer:
    """A YAML file whose top is a mapping. Raises InputError when there is nothing to go on with."""
    layer = read_yaml(_read_text(path), path)
    if layer.values is None and not layer.mistakes:
        raise InputError(f"{path}: is empty; `lmeff init FILE.yaml` writes one to start from")
    if not isinstance(layer.values, dict):
        raise InputError(f"{path}:1: must be a mapping of sections such as 'corpus:' at its top")
    return layer


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file{suggest_file(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a recipe") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES} bytes, so it is no recipe")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = f"byte {content[error.start]:#04x} at offset {error.start:,} of the file"
        raise InputError(f"{path}:{line}: is not UTF-8 text ({place}); save it as UTF-8") from None
