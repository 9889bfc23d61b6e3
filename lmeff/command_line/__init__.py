"""What a command line of `lmeff.run` asks for: a recipe, one of several, or a case of a sweep. Needs no torch.

`python -m lmeff.command_line` is for shell scripts. Slurm templates that were copied from an older version import this, too.
"""

from collections.abc import Sequence

from lmeff.runs.command_line import RunCommand
from lmeff.runs.command_line import read_arguments as _read_arguments
from lmeff.sweeps.cases import find_cases


def read_arguments(argv: Sequence[str] | None, description: str | None = None) -> RunCommand:
    """What to run. Raises InputError."""
    return _read_arguments(argv, description, find_cases)


__all__ = ["RunCommand", "read_arguments"]
