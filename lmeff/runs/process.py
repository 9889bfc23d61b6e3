"""This process among those of the launch. No torch."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from lmeff.environment import DEVICE_VARIABLES
from lmeff.errors import EXIT_FAILED
from lmeff.library_internals import run_exit_functions

_PR_SET_PDEATHSIG = 1
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
    """The environment without what makes this process one of several that train, for one that works alone. On which device it
    should compute stays."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in DEVICE_VARIABLES or not name.startswith(_LAUNCH_VARIABLES)
    }


def is_launched() -> bool:
    """Whether `accelerate launch` started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ


def launcher_was_told(name: str) -> bool:
    """Whether the environment variable was there when `accelerate launch` began: it sets some by itself. With one process it is
    this one's parent. False where the system doesn't say what a process began with.
    """
    try:
        given = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return False
    return any(one.startswith(os.fsencode(name) + b"=") for one in given.split(b"\0"))


def end_with_parent(parent: int) -> None:
    """Lets this process die with the one that started it, whose id is `parent`; at once where that is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_FAILED)


def leave(code: int) -> NoReturn:
    """Ends the process. Beside others it skips the interpreter's own end, at which gloo's threads now and then abort."""
    if launched_world_size() > 1:
        run_exit_functions()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
