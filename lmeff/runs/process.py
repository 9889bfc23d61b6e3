"""This process among those of the launch. No torch."""

import os
import sys
from typing import NoReturn

from lmeff.library_internals import run_exit_functions

_LAUNCH_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_",
    "MASTER_",
    "ACCELERATE_",
    "TORCHELASTIC_",
    "GROUP_",
    "ROLE_",
)
"""How the variables begin that a launcher sets."""


def launched_rank() -> int:
    """This process among those of the launch, from 0."""
    return int(os.environ.get("RANK", "0"))


def launched_world_size() -> int:
    """Processes that the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch_id() -> str:
    """What all processes of a launch have in common, and no other launch has."""
    return "-".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))


def environment_without_launch() -> dict[str, str]:
    """The environment without what makes this process one of several that train, for one that works alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCH_VARIABLES)}


def leave(code: int) -> NoReturn:
    """Ends the process. Beside others it skips the interpreter's own end, at which gloo's threads now and then abort."""
    if launched_world_size() > 1:
        run_exit_functions()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
