"""The process beside training that delivers, and the thread that starts it when there is something to deliver."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError
from lmeff.formats.result import kinds_in
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.availability import unreachable
from lmeff.hub.client import CALL_SECONDS_VARIABLE
from lmeff.hub.names import MAIN, HubNames
from lmeff.hub.outbox import Entry, Outbox
from lmeff.logs import warn
from lmeff.publishing.folder import add_to_outbox, complete_revisions
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.revisions import Revision, RevisionListener
from lmeff.runs.process import environment_without_launch

_FIXED_SECONDS, _SLOWEST_BYTES_A_SECOND = 900.0, 250_000.0
"""How long an attempt may take: the first, and as long as its bytes take at this pace."""
_SHORTEST_SECONDS, _SHORTEST_CALL_SECONDS, _LONGEST_CALL_SECONDS = 120.0, 15.0, 60.0
"""Where somebody waits for it: the least time for an attempt, besides that for its bytes; how long the Hub may be silent."""
_POLL_SECONDS = 1.0


def attempt_beside(
    run: Path,
    revisions: Sequence[str],
    started: Callable[[subprocess.Popen[str]], bool] = lambda process: True,
    wait_seconds: float | None = None,
) -> None:
    """`attempt`, for one revision after another, in a process of its own with the lowest priority, which is killed when it
    takes too long. `started` is given the process, and returns whether it is still wanted. `wait_seconds` is how long somebody
    waits for it: when it is short, the Hub may be silent for less long; an upload that makes progress goes on."""
    outbox = Outbox(run)
    before = [entry for revision in revisions if (entry := outbox.read(revision)) is not None]
    seconds = _FIXED_SECONDS if wait_seconds is None else wait_seconds
    limit = min(_FIXED_SECONDS, max(seconds, _SHORTEST_SECONDS)) + _num_bytes(run, revisions) / _SLOWEST_BYTES_A_SECOND
    call_seconds = min(_LONGEST_CALL_SECONDS, max(seconds, _SHORTEST_CALL_SECONDS))
    words = (str(os.getpid()), str(round(limit) + 30), str(run), *revisions)
    process = subprocess.Popen(
        [sys.executable, "-m", "lmeff.publishing.worker", *words],
        env=_worker_environment(call_seconds),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A new session would be scheduled as a group of its own, in which its low priority has no meaning for training.
        process_group=0,
    )
    if not started(process):
        process.kill()
    said, is_away = "", False
    try:
        _, said = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said, is_away = f"nothing came of it in {limit:.0f} s", True
    if process.returncode and started(process) and before:
        why = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        outbox.failed(_first_without_attempt(outbox, before), why, hub_is_down=is_away)


def _worker_environment(call_seconds: float) -> dict[str, str]:
    """For a process that is no part of training, and in which a call to the Hub may take `call_seconds`."""
    return environment_without_launch() | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Xet's own transfer has no time limit and does not heed a rate limit; plain uploads do.
        "HF_HUB_DISABLE_XET": "1",
        CALL_SECONDS_VARIABLE: str(call_seconds),
    }


def _first_without_attempt(outbox: Outbox, before: Sequence[Entry]) -> Entry:
    """The entry that a worker was sending when it died: it records every attempt, in this order, so that is the first one
    without a new attempt. The last one where all have one."""
    for entry in before:
        now = outbox.read(entry.revision)
        if now and now.attempts == entry.attempts and now.state == "waiting":
            return entry
    return before[-1]


def _num_bytes(run: Path, revisions: Sequence[str]) -> int:
    """Bytes of the revisions' files; a folder that is being replaced at this moment may be missing."""
    total = 0
    for revision in revisions:
        with suppress(OSError):
            total += sum(path.stat().st_size for path in RunFolder(run).revision(revision).rglob("*"))
    return total


class Courier(RevisionListener):
    """Delivers a run's revisions while it trains. A thread watches the outbox; all work is done in other processes."""

    def __init__(self, run: Path, recipe: Recipe, names: HubNames | None) -> None:
        """Without `names` there is nothing to deliver, and nothing happens."""
        self._run, self._outbox, self._recipe, self._names = run, Outbox(run), recipe, names
        self._stop = threading.Event()
        self._all_is_ready = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True, name="courier")

    def __enter__(self) -> "Courier":
        """Begins with the revisions that earlier starts of the run did not deliver."""
        if self._names is not None:
            for folder in complete_revisions(self._run):
                self.saved(folder)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends delivery at once; what is not delivered stays in the outbox."""
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # it may just be looking for the Hub, and ends with this process

    def saved(self, folder: Path) -> None:
        """Puts a saved revision into the outbox. Training goes on when that fails, and the next start of the run adds it."""
        if self._names is not None:
            try:
                add_to_outbox(self._outbox, self._names, self._recipe, Revision.parse(folder.name))
            except (InputError, OSError) as error:
                warn(f"{folder.name} is not in the outbox yet: {error}")

    def hold(self, revision: str, even_if_seen: bool) -> bool:
        """Keeps a revision's folder from being sent until `saved` is called. Returns whether it may become another model
        meanwhile: not when it may be on the Hub already, unless `even_if_seen`."""
        if self._names is None:
            return True
        try:
            return self._outbox.hold(revision, even_if_seen)
        except (InputError, OSError):
            return even_if_seen

    def measured(self, revision: str) -> None:
        """A revision has results that its card shows, also where it was delivered without them."""
        if self._names is not None and (entry := self._outbox.read(revision)) and entry.state == "delivered":
            self._outbox.again(revision)

    def _watch(self) -> None:
        pause = _POLL_SECONDS
        while not self._stop.wait(pause):
            pause = _POLL_SECONDS
            try:
                self._deliver_due()
            except Exception as error:  # whatever it is, training goes on, and so does delivery, later
                warn(f"delivery to the Hub pauses for a minute: {error}")
                pause = 60.0

    def _deliver_due(self) -> None:
        ready = [entry for entry in self._outbox.due() if self._is_ready(entry)]
        if not ready:
            return
        with self._outbox.delivering() as is_free:
            if not is_free:
                return
        if why := unreachable():
            self._outbox.failed(ready[0], why, hub_is_down=True)
        else:
            attempt_beside(self._run, [entry.revision for entry in ready], self._started)

    def _started(self, process: subprocess.Popen[str]) -> bool:
        self._process = process
        return not self._stop.is_set()

    def _is_ready(self, entry: Entry) -> bool:
        """Whether to send an entry already: a revision once it has its scores, so that it takes one commit; the index when
        nothing else waits. All of them at the end of the run."""
        if self._all_is_ready.is_set():
            return True
        if entry.revision == MAIN:
            return not any(one.revision != MAIN for one in self._waiting())
        return is_measured(self._recipe.evaluation, RunFolder(self._run).results_of(entry.revision))

    def finish(self, wait_seconds: float = 600.0) -> list[Entry]:
        """Waits until everything is delivered, or until the Hub was tried once more and is away. Returns what is left."""
        if self._names is None:
            return []
        asked = time.time()
        self._all_is_ready.set()
        for entry in self._waiting():
            if entry.attempts:
                self._outbox.again(entry.revision)
        try:
            while time.time() < asked + wait_seconds and self._thread.is_alive():
                waiting = self._waiting()
                if any(entry.hub_is_down for entry in waiting) or all(entry.attempts for entry in waiting):
                    break
                time.sleep(0.2)
        except KeyboardInterrupt:
            if self._recipe.publish.require:
                raise  # else the run is complete all the same, and `lmeff publish` delivers the rest
        return self._outbox.undelivered()

    def _waiting(self) -> list[Entry]:
        return [entry for entry in self._outbox.undelivered() if entry.state == "waiting"]


def is_measured(section: Evaluation, results: Path) -> bool:
    """Whether a revision has all the results in `results` that its card shows of what is measured at anchors."""
    if not section.at_anchors:
        return True
    if section.tasks:  # they are scored when all else has been measured
        return all((results / f"{task}.json").exists() for task in section.tasks)
    return set(section.measures_at_anchors) - {"weights"} <= kinds_in(results)
