"""Being asked to stop: by SIGTERM, SIGINT or SIGUSR1, or because the launcher died. Needs no torch.

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


class StopRequests:
    """Whether this run was asked to stop. One object a process."""

    def __init__(self) -> None:
        self._asked = False
        self._deferring = False
        self._folder: RunFolder | None = None

    @property
    def asked(self) -> bool:
        """Whether this process was asked."""
        return self._asked

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals inside, and as before outside."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        tell_when_launcher_dies()
        try:
            yield
        finally:
            for number, handler in before.items():
                # Who asks twice would otherwise kill a process that is just leaving, and it could not say how it left.
                signal.signal(number, signal.SIG_IGN if self._asked else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, True
        if self._folder is not None:
            # An evaluation looks at this note: the other processes may not have got a signal.
            self._folder.stop_note.touch()
        if first and not self._deferring:
            raise Interrupted

    def ignore(self) -> None:
        """From here on the process is leaving anyway."""
        self._deferring, self._folder = True, None

    @contextmanager
    def deferred(self, folder: RunFolder) -> Iterator[None]:
        """Inside, a signal is only noted; the caller looks at `asked`. `folder` is one that all processes share."""
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


def tell_when_launcher_dies() -> None:
    """Has the kernel send SIGTERM when `accelerate launch` ends before us: it may be killed, or forward no signal, and a
    process that it leaves behind would go on for days, unseen. Without a launcher our parent is a shell, which may well end."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # Without a launcher any more, the first process of the machine takes us over; in a container it may be the launcher.
        first = Path("/proc/1/cmdline").read_bytes() if os.getppid() == 1 else b"accelerate"
        if b"accelerate" not in first and b"lmeff" not in first:
            os.kill(os.getpid(), signal.SIGTERM)
