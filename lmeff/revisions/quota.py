"""Commits to the Hub of the last hour, by all runs that share a folder of outputs.

The Hub takes 128 commits an hour from a user; we stay at or under 100, and never find out what happens at 129.
"""

import time
from pathlib import Path

from lmeff.files import locked, read_json, write_json

COMMITS_AN_HOUR = 100
_HOUR_SECONDS = 3600.0


class CommitQuota:
    def __init__(self, path: Path) -> None:
        """`path` is the ledger: a JSON file that all runs share."""
        self._path = path

    def take(self) -> float:
        """Notes a commit that is about to be made and returns 0.0, or returns the seconds until one may be made."""
        with locked(self._path.with_name(f"{self._path.name}.lock")):
            now = time.time()
            made = [when for when in self._made() if now - _HOUR_SECONDS < when <= now]
            if len(made) >= COMMITS_AN_HOUR:
                return made[-COMMITS_AN_HOUR] + _HOUR_SECONDS - now
            write_json(self._path, {"format": 1, "commits": [*made, now]})
            return 0.0

    def _made(self) -> list[float]:
        return sorted(read_json(self._path)["commits"]) if self._path.exists() else []
