"""Running the cases of a sweep on this machine, some at a time, each in a process of its own."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lmeff.errors import EXIT_INTERRUPTED
from lmeff.files import usable_folder
from lmeff.formats.state import StateDocument
from lmeff.runs.completed import is_complete
from lmeff.runs.signals import SIGNALS
from lmeff.runs.status.reading import process_is_there
from lmeff.sweeps.cases import Case

Outcome = Literal["complete", "failed", "interrupted"]
_POLL_SECONDS = 0.2
_REMIND_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Progress:
    """Which cases have not begun, are going on, and have ended."""

    waiting: list[Case]
    running: dict[int, Case] = field(default_factory=dict)
    """By the place, from 0 to the number of jobs, in which a case runs."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By the numbers of cases."""


def run_cases(
    cases: Sequence[Case],
    command: Callable[[Case], Sequence[str]],
    jobs: int,
    show: Callable[[Progress], None],
) -> Progress:
    """Runs all cases that are not complete, `jobs` at a time, each by its command, which exits as `lmeff train` does. One that
    fails fails alone. `show` is called again and again.

    On a signal to stop, the processes are told to, and save what they have; the cases that are left stay in `waiting`. When
    this process is killed, the kernel tells them. A case that such a process still works on is begun when that has left it.
    """
    progress = Progress([case for case in cases if not is_complete(case.run)])
    progress.outcomes = {case.index: "complete" for case in cases if case not in progress.waiting}
    processes: dict[int, subprocess.Popen[bytes]] = {}
    with _listening() as stop:
        reminded = 0.0
        while processes or (progress.waiting and not stop.is_set()):
            if stop.is_set() and time.monotonic() > reminded + _REMIND_SECONDS:
                for process in processes.values():
                    process.send_signal(signal.SIGTERM)
                reminded = time.monotonic()
            for place in range(jobs):
                if place in processes and processes[place].poll() is not None:
                    case = progress.running.pop(place)
                    progress.outcomes[case.index] = _outcome(case, processes.pop(place).returncode)
                if place not in processes and not stop.is_set() and (found := _next(progress.waiting)):
                    progress.waiting.remove(found)
                    progress.running[place] = found
                    processes[place] = _start(found, command(found), place, jobs)
            show(progress)
            time.sleep(_POLL_SECONDS)
    return progress


def why_it_failed(case: Case) -> str:
    """One line: what `state.json` says, or the last line that the case printed when it was wrong before it had a state."""
    state = StateDocument.read(case.run)
    if state is not None and state.state == "failed" and state.error:
        return state.error.splitlines()[0]
    printed = case.run.printed_txt
    lines = printed.read_text(encoding="utf-8", errors="replace").split("\n") if printed.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it ended without a word")


def devices_of(place: int, devices: Sequence[str]) -> str:
    """The device of one of several cases that run at a time, of those that this process sees: one each, in turn."""
    return devices[place % len(devices)]


def _next(waiting: Sequence[Case]) -> Case | None:
    """The first case that no other process works on."""
    return next((case for case in waiting if not _is_held(case)), None)


def _is_held(case: Case) -> bool:
    state = StateDocument.read(case.run)
    return state is not None and state.state == "running" and process_is_there(state) is True


def _start(case: Case, command: Sequence[str], place: int, jobs: int) -> subprocess.Popen[bytes]:
    usable_folder(case.run.path, "paths.outputs")
    environment = dict(os.environ)
    if jobs > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // jobs)))
        if len(devices := visible_devices()) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = devices_of(place, devices)
    with open(case.run.printed_txt, "ab") as printed:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
            preexec_fn=_stop_with_parent,
        )


def visible_devices() -> list[str]:
    """The NVIDIA GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them; empty where there are none."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def _stop_with_parent() -> None:
    """Before the program of a case begins: it is asked to stop when the sweep's process dies, also when that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _outcome(case: Case, code: int) -> Outcome:
    if code == 0:
        return "complete"
    return "interrupted" if code in (EXIT_INTERRUPTED, -signal.SIGTERM) else "failed"


@contextmanager
def _listening() -> Iterator[threading.Event]:
    """Set when this process is asked to stop."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not set
                signal.signal(number, handler)
