"""What is to be delivered to the Hub, one small file a revision: it outlives the run, the process and the machine."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from lmeff.errors import InputError
from lmeff.files import locked, read_json, write_json
from lmeff.recipe.documents import FORMAT, Document, Sha256
from lmeff.revisions.names import MAIN

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 600.0


class Entry(Document):
    """`outbox/REVISION.json`. The entry `main` stands for the card and index on the repository's main branch."""

    format: Literal[1] = FORMAT
    revision: str
    repository: str
    branch: str
    private: bool
    added: float
    """Seconds since 1970."""
    state: Literal["waiting", "delivered", "refused"] = "waiting"
    """`refused`: the branch holds another model, and only a person can say what to do."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """Failed attempts since the last success."""
    not_before: float = 0.0
    """When to try again, seconds since 1970."""
    hub_is_down: bool = False
    """Whether the last attempt failed for a reason that holds for all revisions: no network, a rate limit, a rejected token."""
    error: str | None = None
    """Why the last attempt failed."""
    may_be_seen: bool = False
    """Whether an attempt got so far that the revision may be on its branch; from then on its folder stays as it is."""
    commit: str | None = None
    """The commit on the Hub that was verified."""
    card_sha256: Sha256 | None = None
    """Of the card and results as they were delivered."""


class Outbox:
    """`RUN/outbox`. Safe for several processes of one machine."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, run / "outbox"

    def path(self, revision: str) -> Path:
        return self.folder / f"{revision}.json"

    def read(self, revision: str) -> Entry | None:
        """None when there is no such entry. Raises InputError for a damaged one."""
        path = self.path(revision)
        if not path.exists():
            return None
        try:
            return Entry.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: not an entry of an outbox ({error.errors()[0]['msg']})") from None

    def entries(self) -> list[Entry]:
        """All of them in the order in which they were added, `main` last."""
        found = [entry for path in self.folder.glob("[!.]*.json") if (entry := self.read(path.stem)) is not None]
        return sorted(found, key=lambda entry: (entry.revision == MAIN, entry.added, entry.revision))

    def undelivered(self) -> list[Entry]:
        """Those that wait and those that were refused."""
        return [entry for entry in self.entries() if entry.state != "delivered"]

    def due(self) -> list[Entry]:
        """What can be tried now: nothing while the Hub is known to be away."""
        now, waiting = time.time(), [entry for entry in self.entries() if entry.state == "waiting"]
        if any(entry.hub_is_down and entry.not_before > now for entry in waiting):
            return []
        return [entry for entry in waiting if entry.not_before <= now]

    def add(self, revision: str, repository: str, branch: str, private: bool) -> None:
        """Puts in what is new. An entry that is there already stays as it is, unless it goes somewhere else now."""
        with self._alone():
            there = self.read(revision)
            if there is None or (there.repository, there.branch) != (repository, branch):
                entry = Entry(
                    revision=revision, repository=repository, branch=branch, private=private, added=time.time()
                )
                write_json(self.path(revision), entry.model_dump())

    def failed(self, revision: str, why: str, wait_seconds: float | None = None, hub_is_down: bool = False) -> None:
        """Notes a failed attempt; where the Hub gave no time, the wait doubles from five seconds to ten minutes."""
        with self._alone():
            entry = self._there(revision)
            if wait_seconds is None:
                wait_seconds = min(_FIRST_WAIT_SECONDS * 2 ** min(entry.attempts, 20), _LONGEST_WAIT_SECONDS)
            fields = {"error": why, "not_before": time.time() + wait_seconds, "hub_is_down": hub_is_down}
            self._write(entry, attempts=entry.attempts + 1, **fields)

    def begun(self, revision: str) -> None:
        """Notes that the revision is about to be sent."""
        with self._alone():
            self._write(self._there(revision), may_be_seen=True)

    def refused(self, revision: str, why: str) -> None:
        """Nothing more is tried until a person has."""
        with self._alone():
            self._write(self._there(revision), state="refused", error=why)

    def delivered(self, revision: str, commit: str, card_sha256: str | None) -> None:
        """Closes an entry."""
        fields = {"state": "delivered", "commit": commit, "card_sha256": card_sha256, "error": None}
        with self._alone():
            self._write(self._there(revision), attempts=0, not_before=0.0, hub_is_down=False, **fields)

    def again(self, revision: str) -> None:
        """Has an entry tried anew and at once."""
        with self._alone():
            self._write(self._there(revision), state="waiting", attempts=0, not_before=0.0, hub_is_down=False)

    def _there(self, revision: str) -> Entry:
        if (entry := self.read(revision)) is None:
            raise InputError(f"{self.path(revision)}: no such entry")
        return entry

    def _write(self, entry: Entry, **fields: object) -> None:
        write_json(self.path(entry.revision), Entry.model_validate(entry.model_dump() | fields).model_dump())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.folder / ".lock"):
            yield

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Whether this process may deliver: one at a time does on a machine. What several machines deliver at once is still
        delivered once, since a commit names its parent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".delivering", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
