"""How many commits were made to the Hub within the last hour.

The Hub accepts 128 commits an hour from a user; we make at most 100, so that the user can make some as well.
"""

import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from lmeff.files import locked, read_json, write_json

COMMITS_AN_HOUR = 100
_HOUR_SECONDS = 3600.0


class CommitQuota:
    """The times of commits, kept in two files: `OUTPUTS/.hub_commits.json` is shared by the runs of all machines that share the
    folder, and one in the user's cache by all folders of this machine."""

    def __init__(self, outputs: Path) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lmeff"
        self._ledgers = [outputs / ".hub_commits.json"]
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            if os.access(cache, os.W_OK):
                self._ledgers.append(cache / "hub_commits.json")

    def take(self) -> float:
        """Records a commit that is about to be made and returns 0.0; or returns the seconds until one may be made."""
        with ExitStack() as locks:
            for ledger in self._ledgers:
                locks.enter_context(locked(ledger.with_name(f"{ledger.name}.lock")))
            now = time.time()
            made = [[when for when in _read(ledger) if now - _HOUR_SECONDS < when <= now] for ledger in self._ledgers]
            waits = [times[-COMMITS_AN_HOUR] + _HOUR_SECONDS - now for times in made if len(times) >= COMMITS_AN_HOUR]
            if waits:
                return max(waits)
            for ledger, times in zip(self._ledgers, made, strict=True):
                write_json(ledger, {"format": 1, "commits": [*times, now]})
            return 0.0


def _read(ledger: Path) -> list[float]:
    return sorted(read_json(ledger)["commits"]) if ledger.exists() else []
