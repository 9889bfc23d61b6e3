"""How a run ends that did not come to its end: exit code, state and message. No torch."""

import errno
import sys
import time
import traceback

from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError, RunFailed
from lmeff.formats.state import StateDocument
from lmeff.runs.claim import was_claimed_by_us
from lmeff.runs.process import launched_rank
from lmeff.runs.state import RunState

_INTERRUPTED = "interrupted; the same command goes on from the newest checkpoint"


def outcome(error: BaseException) -> tuple[int, str, str]:
    """Exit code, word for `state.json` and message of what ended a run. What nobody foresaw is printed with its traceback."""
    match error:
        case InputError():
            return EXIT_INPUT, "failed", str(error)
        case RunFailed():
            return EXIT_FAILED, "failed", str(error)
        case KeyboardInterrupt():
            said = f"{error}; run the same command again"
            return EXIT_INTERRUPTED, "interrupted", said if str(error) else _INTERRUPTED
    if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):  # safetensors words it so
        return (
            EXIT_FAILED,
            "failed",
            "the disk is full; make room, and the same command goes on from the newest checkpoint",
        )
    traceback.print_exception(error)
    return EXIT_FAILED, "failed", f"{type(error).__name__}: {error}"


_FOR_THE_FIRST_SECONDS = 5.0
"""How long another process waits with its end, so that the first one has said what is wrong before the launcher ends it."""


def report_failure(run_state: RunState | None, word: str, message: str, patience_seconds: float = 20.0) -> None:
    """Says on stderr, and in `state.json` when the run has a folder, why the run ended.

    The first process speaks. Another one that failed waits for it to do so, because a launcher ends all processes when one
    leaves; it speaks itself when the first has nothing to say, being stuck in a collective, say. It leaves a folder alone that
    another launch holds.
    """
    if launched_rank() > 0:
        if run_state is None:  # the first process finds the same mistake, maybe a little later
            time.sleep(_FOR_THE_FIRST_SECONDS)
            return
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            time.sleep(0.2)
            said = StateDocument.read(run_state.folder)
            # A process that is late finds the first one's last word there already.
            is_new = said is not None and (said != run_state.before or was_claimed_by_us(run_state.folder))
            if is_new and said.state != "running":
                return
        if not was_claimed_by_us(run_state.folder):
            run_state = None
    if run_state is not None and run_state.folder.path.exists():
        run_state.write(word, message)
    print(message, file=sys.stderr, flush=True)
