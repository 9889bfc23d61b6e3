"""How long `lmeff publish` goes on trying where the Hub is in trouble, and what it shows meanwhile."""

import sys
import time
from collections.abc import Sequence

from lmeff.hub.outbox import Entry, Outbox
from lmeff.progress import shown

WAIT_SECONDS, UNREACHED_SECONDS = 600.0, 30.0
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts, where the Hub names no time itself."""
_POLL_SECONDS = 1.0


class Patience:
    """Seconds from now on in which failed deliveries are tried again.

    Without a number: ten minutes, but half a minute while nothing was reached at all, as on a machine without a network.
    """

    def __init__(self, seconds: float | None) -> None:
        self.wanted_seconds, self._begun = seconds, time.time()
        self._tried: dict[str, float] = {}
        self.was_reached = False

    @property
    def _seconds(self) -> float:
        if self.wanted_seconds is not None:
            return self.wanted_seconds
        return WAIT_SECONDS if self.was_reached else UNREACHED_SECONDS

    def note(self, entry: Entry) -> None:
        """An attempt has just ended so."""
        self._tried[entry.revision] = time.time()

    def is_due(self, entry: Entry) -> bool:
        """Whether to try an entry now; the first attempt is always made."""
        is_over = entry.revision in self._tried and time.time() > self._begun + self._seconds
        return not is_over and self._due(entry) <= time.time()

    def _due(self, entry: Entry) -> float:
        """When to try an entry again, seconds since 1970."""
        if entry.is_asked_wait or entry.revision not in self._tried:
            return entry.not_before
        return min(entry.not_before, self._tried[entry.revision] + _LONGEST_PAUSE_SECONDS)

    def wait_for(self, entries: Sequence[Entry]) -> bool:
        """Waits until one of these can be tried, and shows the time as it passes; False, at once, where that is too long."""
        asked = [entry.not_before for entry in entries if entry.is_limit]
        tried = [one for one in entries if one.revision in self._tried]
        until = max(asked) if asked else min(map(self._due, tried or entries))
        if max(until, time.time()) > self._begun + self._seconds:
            return False
        why = next((one.error for one in sorted(entries, key=lambda one: -one.attempts) if one.error), "not tried yet")
        is_terminal = sys.stderr.isatty()
        line = f"{why}; {len(entries)} wait, next attempt in"
        if not is_terminal:
            print(f"{line} {max(0, until - time.time()):.0f} s ({self._passed()})", file=sys.stderr, flush=True)
        while (left := until - time.time()) > 0:
            if is_terminal:
                print(f"\r{line} {left:3.0f} s ({self._passed()})\033[K", end="", file=sys.stderr, flush=True)
            time.sleep(min(1.0, left))
        if is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        return True

    def wait_until_free(self, outbox: Outbox) -> bool:
        """Waits while another process delivers, and shows it; False once nothing came of that for as long as we wait."""
        seconds = WAIT_SECONDS if self.wanted_seconds is None else self.wanted_seconds
        since, before = self._begun, None
        with shown("another process delivers; waiting for it"):
            while True:
                with outbox.delivering() as is_free:
                    pass
                if is_free:
                    return True
                now = [(entry.revision, entry.commit, entry.state) for entry in outbox.entries()]
                if before not in (None, now):
                    since = time.time()
                before = now
                if time.time() >= since + seconds:
                    return False
                time.sleep(min(_POLL_SECONDS, seconds))

    def _passed(self) -> str:
        return f"{time.time() - self._begun:.0f} of {self._seconds:.0f} s have passed"
