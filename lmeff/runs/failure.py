"""How a run ends that did not come to its end: exit code, state and message. No torch."""

import errno
import time
import traceback

from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError, RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import State, StateDocument
from lmeff.logs import warn
from lmeff.packages import missing_package
from lmeff.runs.claim import was_claimed_by_us
from lmeff.runs.process import launched_rank
from lmeff.runs.signals import Killed
from lmeff.runs.state import RunState

_GOES_ON, _BEGINS = "the same command goes on from the newest checkpoint", "the same command begins again"
_AGAIN = "run the same command again"
_SHORT_PATIENCE_SECONDS = 5.0
"""How long another process waits before it exits with a mistake of the input, which the first process finds too: a launcher
ends all processes when one exits, and the first one is to say what is wrong."""


def outcome(error: BaseException, folder: RunFolder | None = None) -> tuple[int, State, str]:
    """Exit code, word for `state.json` and message of what ended a run in `folder`, None before it had one. What nobody foresaw
    is printed with its traceback."""
    match error:
        case InputError():
            return EXIT_INPUT, "failed", str(error)
        case RunFailed():
            return EXIT_FAILED, "failed", str(error)
        case Killed():
            return 0, "interrupted", str(error)
        case KeyboardInterrupt():
            message = f"{error}; {_AGAIN}" if str(error) else f"interrupted; {_what_again_does(folder)}"
            return EXIT_INTERRUPTED, "interrupted", message
    if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):  # the latter from safetensors
        return EXIT_FAILED, "failed", f"the disk is full; make room, and {_what_again_does(folder)}"
    if missing := missing_package(error):
        return EXIT_INPUT, "failed", missing
    traceback.print_exception(error)
    return EXIT_FAILED, "failed", f"{type(error).__name__}: {error}"


def _what_again_does(folder: RunFolder | None) -> str:
    try:
        if folder is not None:
            return _GOES_ON if any(one.checkpoint_steps() for one in (folder, *folder.parts())) else _BEGINS
    except OSError:  # a disk that is lost
        pass
    return _AGAIN


def report_failure(run_state: RunState | None, word: State, message: str, patience_seconds: float = 20.0) -> None:
    """Says on stderr, and in `state.json` when the run has a folder, why the run ended.

    The first process speaks. Another one that failed waits for it to do so, because a launcher ends all processes when one
    exits. When the first process says nothing in `patience_seconds` (it may be stuck in a collective), the other one speaks
    itself, but writes nothing into a folder that another launch holds.
    """
    if launched_rank() > 0:
        if run_state is None:
            time.sleep(_SHORT_PATIENCE_SECONDS)
            return
        if _first_process_spoke(run_state, patience_seconds):
            return
        if not was_claimed_by_us(run_state.folder):
            run_state = None
    if run_state is not None and run_state.folder.path.exists():
        run_state.write(word, message)
    warn(message)


def _first_process_spoke(run_state: RunState, patience_seconds: float) -> bool:
    """Waits until the first process of this launch has written how the run ended; False when it does not."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        time.sleep(0.2)
        state = StateDocument.read(run_state.folder)
        if state is None or state.state == "running":
            continue
        # A state that was there before this process began may be that of an earlier launch.
        if state != run_state.before or was_claimed_by_us(run_state.folder):
            return True
    return False
