"""What is tried again, when and for how long, where the Hub is in trouble; and what is shown meanwhile."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence

from tqdm import tqdm

from lmeff.hub.account import token
from lmeff.hub.availability import unreachable
from lmeff.hub.client import OFFLINE
from lmeff.hub.outbox import Entry, Outbox
from lmeff.logs import is_quiet, note
from lmeff.progress import shown
from lmeff.publishing.attempt import NO_TOKEN

WAIT_SECONDS, UNREACHED_SECONDS = 600.0, 30.0
NEEDS_A_PERSON = (NO_TOKEN, OFFLINE)
"""Obstacles that do not go away by waiting."""
_IN_A_ROW = 3
"""So many entries, one after the other, for which the Hub was away: then it is taken to be away for all."""
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts, where the Hub names no time itself."""
_POLL_SECONDS = 1.0


class Retries:
    """Decides which entries to try next, from how the attempts before ended, within some seconds from now on.

    Without a number of seconds these are ten minutes, but half a minute while nothing was reached at all, as on a machine
    without a network.
    """

    def __init__(self, seconds: float | None) -> None:
        self.wanted_seconds, self._begun = seconds, time.time()
        self._tried: dict[str, float] = {}
        """When each entry was last tried, by revision."""
        self._given_up: set[str] = set()
        """Revisions for which another attempt would end as the last one did."""
        self._num_down = 0
        """Attempts in a row for which the Hub was away."""
        self._num_rejected = 0
        """Those of them that a person has to do something about."""
        self._was_reached = False

    @property
    def _seconds(self) -> float:
        if self.wanted_seconds is not None:
            return self.wanted_seconds
        return WAIT_SECONDS if self._was_reached else UNREACHED_SECONDS

    def known_obstacle(self) -> str | None:
        """Why an attempt would fail, as far as that is known without making one."""
        from huggingface_hub import constants

        if token() is None:
            return NO_TOKEN
        if constants.HF_HUB_OFFLINE:
            return OFFLINE
        why = unreachable()
        self._was_reached |= why is None
        return why

    def note(self, entry: Entry) -> None:
        """Takes in how an attempt has just ended, by the entry as it is now."""
        self._tried[entry.revision] = time.time()
        is_down = entry.state == "waiting" and entry.hub_is_down
        self._num_down = self._num_down + 1 if is_down else 0
        self._num_rejected = self._num_rejected + 1 if is_down and entry.is_rejected else 0
        if entry.state == "waiting" and (not is_down or entry.is_rejected):
            self._given_up.add(entry.revision)

    def note_away(self) -> None:
        """Takes in that the Hub is away, whatever is tried; until the next wait is over."""
        self._num_down = _IN_A_ROW

    @property
    def is_rejected(self) -> bool:
        """Whether the Hub rejected several entries in a row, and would reject the others as well."""
        return self._num_rejected >= _IN_A_ROW

    def is_away(self, entries: Iterable[Entry]) -> bool:
        """Whether nothing can be sent now, of these and of others."""
        return self._num_down >= _IN_A_ROW or any(one.is_limit and one.not_before > time.time() for one in entries)

    def ready(self, read_waiting: Callable[[], Iterable[Entry]]) -> list[Entry]:
        """Those of the waiting entries that can be tried now, after a wait where there are none yet; empty when nothing is left
        to try or the wait would be too long."""
        while waiting := [entry for entry in read_waiting() if entry.revision not in self._given_up]:
            found = [] if self.is_away(waiting) else [entry for entry in waiting if self._is_due(entry)]
            if found:
                return found
            if not self._wait_for(waiting):
                break
            self._num_down = 0
        return []

    def _is_due(self, entry: Entry) -> bool:
        """Whether to try an entry now; the first attempt is always made."""
        is_over = entry.revision in self._tried and time.time() > self._begun + self._seconds
        return not is_over and self._due(entry) <= time.time()

    def _due(self, entry: Entry) -> float:
        """When to try an entry again, seconds since 1970."""
        if entry.is_asked_wait or entry.revision not in self._tried:
            return entry.not_before
        return min(entry.not_before, self._tried[entry.revision] + _LONGEST_PAUSE_SECONDS)

    def _wait_for(self, entries: Sequence[Entry]) -> bool:
        """Waits until one of these can be tried, and shows the time as it passes; False, at once, where that is too long."""
        asked = [entry.not_before for entry in entries if entry.is_limit]
        tried = [one for one in entries if one.revision in self._tried]
        until = max(asked) if asked else min(map(self._due, tried or entries))
        if max(until, time.time()) > self._begun + self._seconds:
            return False
        why = next((one.error for one in sorted(entries, key=lambda one: -one.attempts) if one.error), "not tried yet")
        self._show_wait(f"{why}; {len(entries)} wait, next attempt in", until)
        return True

    def _show_wait(self, line: str, until: float) -> None:
        """Waits, with one line on a terminal that changes, and one that stays elsewhere."""
        is_terminal = sys.stderr.isatty() and not is_quiet()
        if not is_terminal:
            note(f"{line} {max(0, until - time.time()):.0f} s ({self._passed()})")
        with tqdm(bar_format="{desc}", leave=False, disable=not is_terminal) as shown:
            while (left := until - time.time()) > 0:
                shown.set_description_str(f"{line} {left:3.0f} s ({self._passed()})")
                time.sleep(min(1.0, left))

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
