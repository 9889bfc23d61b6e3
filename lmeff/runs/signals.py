"""Requests to stop: SIGTERM, SIGINT, SIGUSR1, or the death of the launcher. No torch.

While a run trains, a signal only leaves a note; all processes look at their notes together at the end of a step, write one
checkpoint and leave. At any other time there is nothing to save, and the process leaves at once.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lmeff.formats.run_folder import RunFolder

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and has saved what there was to save. Run again, it goes on."""


class Killed(Interrupted):
    """A rule of the run's sweep ended it. Run again, it does nothing."""


class StopRequests:
    """Whether this run was asked to stop. One object a process."""

    def __init__(self) -> None:
        self._asked = False
        self.reason = Interrupted()
        """What a run raises that was asked to stop and has saved."""
        self._deferring = False
        self._folder: RunFolder | None = None

    @property
    def asked(self) -> bool:
        """Whether this process was asked."""
        return self._asked

    def ask(self, reason: Interrupted) -> None:
        """Asks this process to stop at the end of its step, as a signal does, for a reason of its own."""
        self._asked, self.reason = True, reason

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals inside the block; the former handlers are back after it."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        stop_when_launcher_dies()
        try:
            yield
        finally:
            for number, handler in before.items():
                # A second signal would kill a process that is about to exit, before it has written how it ended.
                signal.signal(number, signal.SIG_IGN if self._asked else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, True
        if self._folder is not None:
            # For the other processes, which may not have got a signal: an evaluation looks for this file.
            self._folder.stop_note.touch()
        if first and not self._deferring:
            raise Interrupted

    def ignore(self) -> None:
        """Signals do nothing any more: the process is about to exit."""
        self._deferring, self._folder = True, None

    @contextmanager
    def deferred(self, folder: RunFolder) -> Iterator[None]:
        """Inside the block a signal only sets `asked`, which the caller looks at, and leaves a note in `folder`, which all
        processes share."""
        self._deferring, self._folder = True, folder
        try:
            yield
        finally:
            self._deferring, self._folder = False, None

    def check(self) -> None:
        """Raises Interrupted when any process of the run was asked to stop."""
        if self._asked or (self._folder is not None and self._folder.stop_note.exists()):
            raise Interrupted

    @staticmethod
    def forget(folder: RunFolder) -> None:
        """Clears the note of an earlier launch."""
        folder.stop_note.unlink(missing_ok=True)


def stop_when_launcher_dies() -> None:
    """Asks the kernel to send this process SIGTERM when `accelerate launch` ends first.

    A launcher may be killed, or not forward a signal, and the processes that it leaves behind would train on for days, unseen.
    Does nothing without a launcher: then the parent is a shell, which may end while the run goes on.
    """
    if "ACCELERATE_MIXED_PRECISION" in os.environ:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # It may have died already: then process 1 is our parent. In a container, process 1 may be the launcher itself.
        first = Path("/proc/1/cmdline").read_bytes() if os.getppid() == 1 else b"accelerate"
        if b"accelerate" not in first and b"lmeff" not in first:
            os.kill(os.getpid(), signal.SIGTERM)
