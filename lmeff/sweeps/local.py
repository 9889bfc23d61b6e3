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
from functools import partial
from pathlib import Path
from typing import Literal

from lmeff.errors import EXIT_INTERRUPTED, InputError
from lmeff.files import usable_folder
from lmeff.formats.state import StateDocument
from lmeff.runs.claim import is_claimed
from lmeff.runs.completed import is_complete
from lmeff.runs.signals import SIGNALS
from lmeff.sweeps.cases import Case
from lmeff.sweeps.rungs.of_sweep import SweepRungs
from lmeff.sweeps.rungs.waiting import WaitingAtRungs

Outcome = Literal["complete", "killed", "failed", "interrupted"]
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
    why: dict[int, str] = field(default_factory=dict)
    """Why cases have failed or were killed, by their numbers; a line each."""
    held: list[Case] = field(default_factory=list)
    """Those that other processes work on, where there is place for them."""
    paused: str | None = None
    """At which rung, and for which cases, those in `waiting` stay there, since those have failed; None where none does."""


@dataclass(frozen=True)
class _Start:
    """A case that runs, and what its folder held before, which says nothing of this start."""

    process: subprocess.Popen[bytes]
    state: StateDocument | None
    num_printed: int
    """Bytes."""
    num_rungs: int
    """To which the case had come."""


def run_cases(
    cases: Sequence[Case],
    command: Callable[[Case], Sequence[str]],
    jobs: int,
    show: Callable[[Progress], None],
    processes: int = 1,
    devices: Sequence[str] = (),
    rungs: SweepRungs | None = None,
) -> Progress:
    """Runs all cases that are not complete, `jobs` at a time, each by its command, which exits as `lmeff train` does. One that
    fails fails alone. `show` is called again and again. Cores and `devices`, where there are any, are shared out among the
    cases, each of which starts so many `processes`.

    On a signal to stop, the processes are told to, and save what they have; the cases that are left stay in `waiting`. When
    this process is killed, the kernel tells them. A case that such a process still works on is begun when that has left it.

    With `rungs`, a case that pauses at one waits there until all have come to it, and those that the rules kill are not begun
    again. Raises InputError, after all that run have saved, for values that the rules cannot compare.
    """
    progress = Progress([case for case in cases if not is_complete(case.run)])
    progress.outcomes = {case.index: "complete" for case in cases if case not in progress.waiting}
    starts: dict[int, _Start] = {}
    at_rungs, mistake = WaitingAtRungs(rungs), None
    with _listening() as stop:
        reminded = 0.0
        while starts or (progress.waiting and not stop.is_set()):
            ended = [place for place, start in starts.items() if start.process.poll() is not None]
            try:
                at_rungs.look(has_changed=bool(ended))
            except InputError as error:
                mistake = error
                stop.set()
            for place in ended:
                _end(progress, place, starts.pop(place), at_rungs, stop.is_set())
            _apply_rules(progress, cases, at_rungs)
            if stop.is_set() and time.monotonic() > reminded + _REMIND_SECONDS:
                for start in starts.values():
                    start.process.send_signal(signal.SIGTERM)
                reminded = time.monotonic()
            for place in range(jobs):
                if place in starts or stop.is_set():
                    continue
                if found := _next(progress, at_rungs):
                    progress.waiting.remove(found)
                    progress.running[place] = found
                    cores = None if devices else cores_of(place, jobs)
                    environment = _environment(place, jobs, processes, devices)
                    starts[place] = _start(found, command(found), environment, at_rungs.num_reached(found), cores)
            show(progress)
            if progress.waiting and not starts and _is_stuck(progress, cases, at_rungs):
                progress.paused = at_rungs.describe()
                break
            if starts or progress.waiting:
                time.sleep(_POLL_SECONDS)
    if mistake:
        raise mistake
    return progress


def _end(progress: Progress, place: int, start: _Start, at_rungs: WaitingAtRungs, is_stopping: bool) -> None:
    case = progress.running.pop(place)
    outcome = _outcome(start.process.returncode)
    if at_rungs.there and outcome in ("complete", "interrupted") and not is_complete(case.run):
        if not is_stopping and _may_go_on(case, start, at_rungs):
            progress.waiting.append(case)
            return
        outcome = "interrupted"
    progress.outcomes[case.index] = outcome
    if outcome == "failed":
        progress.why[case.index] = _why_it_failed(case, start)


def _may_go_on(case: Case, start: _Start, at_rungs: WaitingAtRungs) -> bool:
    """Whether a run has paused or ended at a rung, by what is decided now or by what was decided when it looked: a failed case
    that is tried again makes a rung open that was decided. Who comes no further is not begun again for ever."""
    if at_rungs.holds(case) or at_rungs.why_killed(case) or at_rungs.num_reached(case) > start.num_rungs:
        return True
    now = StateDocument.read(case.run)
    return now is not None and now.step != (start.state.step if start.state else 0)


def _apply_rules(progress: Progress, cases: Sequence[Case], at_rungs: WaitingAtRungs) -> None:
    """Takes the cases that are killed from those that wait, and gives those back that other values than then let go on."""
    for case in cases:
        why = at_rungs.why_killed(case)
        if why and case in progress.waiting:
            progress.waiting.remove(case)
            progress.outcomes[case.index], progress.why[case.index] = "killed", why
        elif not why and progress.outcomes.get(case.index) == "killed":
            del progress.outcomes[case.index], progress.why[case.index]
            progress.waiting.append(case)


def _is_stuck(progress: Progress, cases: Sequence[Case], at_rungs: WaitingAtRungs) -> bool:
    """Whether all that wait do so for cases that have ended without coming to the rung."""
    awaited = [case for case in cases if at_rungs.waits_for(case)]
    return all(map(at_rungs.holds, progress.waiting)) and all(case.index in progress.outcomes for case in awaited)


def _why_it_failed(case: Case, start: _Start) -> str:
    """One line: what `state.json` says, or the last line that the case printed when it was wrong before it had a state."""
    state = StateDocument.read(case.run)
    if state is not None and state != start.state and state.state == "failed" and state.error:
        return state.error.splitlines()[0]
    with open(case.run.printed_txt, "rb") as printed:
        printed.seek(start.num_printed)
        lines = printed.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it ended without a word")


def devices_of(place: int, devices: Sequence[str], processes: int = 1) -> list[str]:
    """The devices of one of several cases that run at a time: one for each of its processes, and in turn where there are fewer
    than all cases need. Raises InputError where there are fewer than one case needs."""
    if processes > len(devices):
        raise InputError(f"--num-processes: {processes}, or --launcher's, are more than the GPUs here, {len(devices)}")
    first = place % (len(devices) // processes) * processes
    return list(devices[first : first + processes])


def cores_of(place: int, jobs: int) -> set[int] | None:
    """The cores of one of several cases that run at a time, an equal share of ours, to which its process is held: a run that is
    alone in its launch takes all that it may use. None where there are fewer cores than cases."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // jobs
    return set(cores[place * share : (place + 1) * share]) or None


def _next(progress: Progress, at_rungs: WaitingAtRungs) -> Case | None:
    """The first case that no other process works on, and that waits for no other one."""
    progress.held = []
    for case in progress.waiting:
        if at_rungs.holds(case):
            continue
        if not is_claimed(case.run):
            return case
        progress.held.append(case)
    return None


def _environment(place: int, jobs: int, processes: int, devices: Sequence[str]) -> dict[str, str]:
    """With a case's share of the cores and devices, where several run at a time."""
    environment = dict(os.environ)
    if jobs > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // (jobs * processes))))
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices_of(place, devices, processes))
    return environment


def _start(
    case: Case, command: Sequence[str], environment: dict[str, str], num_rungs: int, cores: set[int] | None
) -> _Start:
    usable_folder(case.run.path, "paths.outputs")
    before = StateDocument.read(case.run)
    with open(case.run.printed_txt, "ab") as printed:
        num_printed = printed.tell()
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
            preexec_fn=partial(_before_the_program, cores),
        )
        return _Start(process, before, num_printed, num_rungs)


def visible_devices() -> list[str]:
    """The NVIDIA GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them; empty where there are none."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def _before_the_program(cores: set[int] | None) -> None:
    """In the process of a case: it is asked to stop when the sweep's process dies, also when that is killed."""
    if cores:
        os.sched_setaffinity(0, cores)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _outcome(code: int) -> Outcome:
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
