"""What is to be delivered to the Hub, in one small file for each revision, which stays when a process or machine dies."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lmeff.errors import InputError
from lmeff.files import locked
from lmeff.formats.base import FORMAT, Sha256, StrictModel
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.names import MAIN

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 600.0


class Entry(StrictModel):
    """`outbox/REVISION.json`. The entry `main` stands for the card and index on the repository's main branch."""

    format: Literal[1] = FORMAT
    revision: str
    repository: str
    branch: str
    private: bool
    added: float
    """Seconds since 1970."""
    opened: float
    """When its delivery was last asked for, seconds since 1970. A delivery that began earlier leaves the entry open."""
    manifest_sha256: Sha256 | None
    """What is to be delivered; None for `main`."""
    state: Literal["waiting", "delivered", "refused"] = "waiting"
    """`refused`: the branch holds another model, and only a person can say what to do."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """Failed attempts since the last success."""
    not_before: float = 0.0
    """When to try again, seconds since 1970."""
    is_asked_wait: bool = False
    """Whether it is the Hub or our quota of commits that asks to wait until `not_before`."""
    is_limit: bool = False
    """Whether there were too many requests or commits, so that until `not_before` nothing else is to be sent either."""
    hub_is_down: bool = False
    """Whether the last attempt failed for a reason that holds for all revisions: no network, a rate limit, a rejected token."""
    is_rejected: bool = False
    """Whether a person has to change something, such as the token that the Hub refuses; waiting does not help."""
    error: str | None = None
    """Why the last attempt failed."""
    is_held: bool = False
    """Whether its folder is about to be replaced, so that nothing may be sent from it."""
    may_be_seen: bool = False
    """Whether an attempt came so far that the revision may be on its branch. Others may have loaded it from there, so that its
    folder must not change any more."""
    former_manifests: tuple[Sha256, ...] = ()
    """Manifests of final models that went to this branch when the run was shorter. A branch with one of them may be updated."""
    commit: str | None = None
    """The commit on the Hub that was verified."""
    card_sha256: Sha256 | None = None
    """Of the card and results as they were delivered."""


class Outbox:
    """`RUN/outbox`. Safe for several processes of one machine."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, RunFolder(run).outbox

    def path(self, revision: str) -> Path:
        return self.folder / f"{revision}.json"

    def read(self, revision: str) -> Entry | None:
        """None when there is no such entry. Raises InputError for a damaged one."""
        path = self.path(revision)
        if not path.exists():
            return None
        return Entry.read_file(path)

    def entries(self) -> list[Entry]:
        """All of them in the order in which they were added, `main` last."""
        found = [entry for path in self.folder.glob("[!.]*.json") if (entry := self.read(path.stem)) is not None]
        return sorted(found, key=lambda entry: (entry.revision == MAIN, entry.added, entry.revision))

    def undelivered(self) -> list[Entry]:
        """Those that wait and those that were refused."""
        return [entry for entry in self.entries() if entry.state != "delivered"]

    def due(self) -> list[Entry]:
        """What can be tried now, the entries with the fewest failures first; nothing while the Hub is known to be away."""
        now, waiting = time.time(), [entry for entry in self.entries() if entry.state == "waiting"]
        if any(entry.hub_is_down and entry.not_before > now for entry in waiting):
            return []
        found = [entry for entry in waiting if entry.not_before <= now and not entry.is_held]
        return sorted(found, key=lambda entry: (entry.revision == MAIN, entry.attempts))

    def add(
        self, revision: str, repository: str, branch: str, private: bool, manifest_sha256: str | None = None
    ) -> None:
        """Adds an entry, unless there is one already for this model and place; one for another model or place is replaced."""
        with self._alone():
            there, now = self.read(revision), time.time()
            what = (repository, branch, manifest_sha256)
            if there is not None and (there.repository, there.branch, there.manifest_sha256) == what:
                if there.is_held:
                    self._write(there, is_held=False)
                return
            former: tuple[str, ...] = ()
            if there is not None and (there.repository, there.branch) == (repository, branch):
                former = there.former_manifests
                if there.may_be_seen and there.manifest_sha256 is not None:
                    former += (there.manifest_sha256,)
            entry = Entry(
                revision=revision,
                repository=repository,
                branch=branch,
                private=private,
                added=there.added if there else now,
                opened=now,
                manifest_sha256=manifest_sha256,
                may_be_seen=there is not None and there.may_be_seen,
                former_manifests=former,
            )
            entry.write_file(self.path(revision))

    def hold(self, revision: str, even_if_seen: bool = False) -> bool:
        """Keeps a revision's folder from being sent until `add` is called, so that it can be replaced. Returns whether that is
        allowed: not when somebody may have loaded the revision from the Hub, unless `even_if_seen`."""
        with self._alone():
            entry = self.read(revision)
            if entry is None:
                return True
            if entry.may_be_seen and not even_if_seen:
                return False
            self._write(entry, is_held=True)
            return True

    def begin(self, entry: Entry) -> bool:
        """Records that the revision is about to be sent. Returns False when it must not be: it is held, or another model
        now."""
        with self._alone():
            there = self.read(entry.revision)
            if there is None or there.is_held or not _is_same(there, entry):
                return False
            self._write(there, may_be_seen=True)
            return True

    def failed(
        self,
        entry: Entry,
        why: str,
        wait_seconds: float | None = None,
        *,
        is_asked_wait: bool = False,
        hub_is_down: bool = False,
        is_rejected: bool = False,
        is_limit: bool = False,
    ) -> None:
        """Records a failed attempt. Where the Hub gave no time, the wait doubles from five seconds to ten minutes."""
        fields = {"error": why, "hub_is_down": hub_is_down, "is_rejected": is_rejected, "is_limit": is_limit}
        fields |= {"is_asked_wait": is_asked_wait, "not_before": next_attempt(entry, wait_seconds)}
        self._close(entry, attempts=entry.attempts + 1, **fields)

    def refused(self, entry: Entry, why: str) -> None:
        """Records that the Hub's branch holds something else; nothing is tried until a person asks for it."""
        self._close(entry, state="refused", error=why)

    def delivered(self, entry: Entry, commit: str, card_sha256: str | None) -> None:
        """Closes an entry. If its delivery was asked for again in the meantime, it gets the commit and stays open."""
        with self._alone():
            there = self._there(entry.revision)
            if _is_same(there, entry):
                fields = {"commit": commit, "card_sha256": card_sha256, "error": None, "hub_is_down": False}
                fields |= {"is_rejected": False, "is_limit": False}
                state = "delivered" if there.opened == entry.opened else there.state
                self._write(there, state=state, attempts=0, not_before=0.0, is_asked_wait=False, **fields)

    def again(self, revision: str) -> None:
        """Asks for an entry's delivery again: at once, unless the Hub asked to wait."""
        with self._alone():
            there, now = self._there(revision), time.time()
            waits = there.is_asked_wait and there.not_before > now
            fields = {} if waits else {"attempts": 0, "not_before": 0.0, "hub_is_down": False, "is_limit": False}
            self._write(there, state="waiting", opened=now, **fields)

    def _close(self, entry: Entry, **fields: object) -> None:
        with self._alone():
            there = self._there(entry.revision)
            if _is_same(there, entry) and there.state == "waiting":
                self._write(there, **fields)

    def _there(self, revision: str) -> Entry:
        if (entry := self.read(revision)) is None:
            raise InputError(f"{self.path(revision)}: no such entry")
        return entry

    def _write(self, entry: Entry, **fields: object) -> None:
        Entry.model_validate(entry.model_dump() | fields).write_file(self.path(entry.revision))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.folder / ".lock"):
            yield

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Whether this process may deliver: on one machine, one process does at a time. Should two machines deliver the same
        revision at once, only one commit succeeds, since it names its parent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".delivering", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def next_attempt(entry: Entry, wait_seconds: float | None) -> float:
    """When to try an entry again whose attempt has just failed, seconds since 1970."""
    if wait_seconds is None:
        wait_seconds = min(_FIRST_WAIT_SECONDS * 2 ** min(entry.attempts, 20), _LONGEST_WAIT_SECONDS)
    return time.time() + wait_seconds


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether both are the same model for the same place."""
    keys = ("repository", "branch", "manifest_sha256")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
