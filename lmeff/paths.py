"""Paths as people write them, with `~` and variables."""

import os
import re

from lmeff.errors import InputError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^{}]*)\})")


def expanded(path: str) -> str:
    """A path with `~`, `$NAME` and `${NAME}` replaced. A path that exists as it is written stays.

    Raises InputError for a variable that is not set.
    """
    if os.path.lexists(path):
        return path
    names = [first or second for first, second in _VARIABLE.findall(path)]
    if unset := [name for name in names if name not in os.environ]:
        raise InputError(f"{path}: the variable {unset[0]} is not set in the environment")
    return os.path.expanduser(_VARIABLE.sub(lambda found: os.environ[found[1] or found[2]], path))
