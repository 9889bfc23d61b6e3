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
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.client import CALL_SECONDS_VARIABLE
from lmeff.hub.names import MAIN, HubNames
from lmeff.hub.outbox import Entry, Outbox
from lmeff.hub.reach import unreachable
from lmeff.publishing.folder import add_to_outbox, complete_revisions
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision

_FIXED_SECONDS, _SLOWEST_BYTES_A_SECOND = 900.0, 250_000.0
"""How long an attempt may take: this, and as long as its bytes take at this pace."""
_SHORTEST_SECONDS, _SHORTEST_CALL_SECONDS, _LONGEST_CALL_SECONDS = 120.0, 15.0, 60.0
"""Where somebody waits: the least that an attempt gets besides its bytes, and how long the Hub may be silent."""
_POLL_SECONDS = 1.0


def attempt_beside(
    run: Path,
    revisions: Sequence[str],
    started: Callable[[subprocess.Popen], bool] = lambda process: True,
    patience_seconds: float | None = None,
) -> None:
    """`attempt`, for one revision after another, in a process of its own with the lowest priority, which is ended when it takes
    too long. `started` is shown the process, and says whether it is wanted at all. A short patience shortens how long the Hub
    may be silent, not an upload that goes on."""
    outbox = Outbox(run)
    before = [entry for revision in revisions if (entry := outbox.read(revision)) is not None]
    wait = _FIXED_SECONDS if patience_seconds is None else patience_seconds
    limit = min(_FIXED_SECONDS, max(wait, _SHORTEST_SECONDS)) + _num_bytes(run, revisions) / _SLOWEST_BYTES_A_SECOND
    call_seconds = min(_LONGEST_CALL_SECONDS, max(wait, _SHORTEST_CALL_SECONDS))
    launch = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "ACCELERATE_", "TORCHELASTIC_", "GROUP_", "ROLE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(launch)}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment[CALL_SECONDS_VARIABLE] = str(call_seconds)
    # Xet's own transfer has no time limit and knows nothing of a rate limit; plain uploads have and do.
    environment["HF_HUB_DISABLE_XET"] = "1"
    words = (str(os.getpid()), str(round(limit) + 30), str(run), *revisions)
    process = subprocess.Popen(
        [sys.executable, "-m", "lmeff.publishing.worker", *words],
        env=environment,
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
        # The one it was at is the first that nothing was noted of.
        stuck = next(
            (
                one
                for one in before
                if (now := outbox.read(one.revision)) and now.attempts == one.attempts and now.state == "waiting"
            ),
            before[-1],
        )
        why = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        outbox.failed(stuck, why, hub_is_down=is_away)


def _num_bytes(run: Path, revisions: Sequence[str]) -> int:
    """Bytes of the revisions, of which some may just be replaced."""
    total = 0
    for revision in revisions:
        with suppress(OSError):
            total += sum(path.stat().st_size for path in RunFolder(run).revision(revision).rglob("*"))
    return total


class Courier:
    """Delivers a run's revisions while it trains. A thread watches the outbox; all work is done in other processes."""

    def __init__(self, run: Path, recipe: Recipe, names: HubNames | None) -> None:
        """Without `names` there is nothing to deliver, and nothing happens."""
        self._run, self._outbox, self._recipe, self._names = run, Outbox(run), recipe, names
        self._stop = threading.Event()
        self._all_is_ready = threading.Event()
        self._process: subprocess.Popen | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True, name="courier")

    def __enter__(self) -> "Courier":
        """Begins with whatever earlier starts of the run left."""
        if self._names is not None:
            for folder in complete_revisions(self._run):
                self.add(folder)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """At once; what is not delivered stays in the outbox."""
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # it may just be looking for the Hub, and ends with this process

    def add(self, folder: Path) -> None:
        """Puts a saved revision into the outbox. Whatever is wrong with that, training goes on; the next start adds it."""
        if self._names is not None:
            try:
                add_to_outbox(self._outbox, self._names, self._recipe, Revision.parse(folder.name))
            except (InputError, OSError) as error:
                print(f"{folder.name} is not in the outbox yet: {error}", file=sys.stderr)

    def may_replace(self, revision: str, even_if_seen: bool) -> bool:
        """Whether a revision's folder may become another model. Nothing is sent from it until `add` is called."""
        if self._names is None:
            return True
        try:
            return self._outbox.hold(revision, even_if_seen)
        except (InputError, OSError):
            return even_if_seen

    def _watch(self) -> None:
        pause = _POLL_SECONDS
        while not self._stop.wait(pause):
            pause = _POLL_SECONDS
            try:
                self._deliver_due()
            except Exception as error:  # whatever it is, training goes on, and so does delivery, later
                print(f"delivery to the Hub pauses for a minute: {error}", file=sys.stderr)
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

    def _started(self, process: subprocess.Popen) -> bool:
        self._process = process
        return not self._stop.is_set()

    def _is_ready(self, entry: Entry) -> bool:
        """A revision goes out with its scores, so that it takes one commit; the index when nothing else is to be sent."""
        if self._all_is_ready.is_set():
            return True
        if entry.revision == MAIN:
            return not any(one.state == "waiting" for one in self._outbox.entries() if one.revision != MAIN)
        wanted = self._recipe.evaluation
        results = RunFolder(self._run).results_of(entry.revision)
        return not wanted.at_anchors or all((results / f"{task}.json").exists() for task in wanted.tasks)

    def finish(self, patience_seconds: float = 600.0) -> list[Entry]:
        """Waits until everything is delivered, or until the Hub was tried once more and is away. Returns what is left."""
        if self._names is None:
            return []
        asked = time.time()
        self._all_is_ready.set()
        for entry in self._outbox.undelivered():
            if entry.state == "waiting" and entry.attempts:
                self._outbox.again(entry.revision)
        try:
            while time.time() < asked + patience_seconds and self._thread.is_alive():
                left = [entry for entry in self._outbox.undelivered() if entry.state == "waiting"]
                if not left or any(entry.hub_is_down for entry in left) or all(entry.attempts for entry in left):
                    break
                time.sleep(0.2)
        except KeyboardInterrupt:
            if self._recipe.publish.require:
                raise  # else the run is complete, and only the rest of the delivery is left to another time
        return self._outbox.undelivered()


def say_what_is_left(run: Path, left: Sequence[Entry]) -> str:
    """One line for each undelivered entry, and what to do."""
    lines = [f"{one.revision}: not on the Hub yet ({one.error or 'not tried'}{_when(one)})" for one in left]
    return "\n".join([*lines, f"deliver with: lmeff publish {run}"])


def _when(entry: Entry) -> str:
    minutes = (entry.not_before - time.time()) / 60
    return f"; not before {minutes:.0f} minutes from now" if entry.state == "waiting" and minutes > 1 else ""
