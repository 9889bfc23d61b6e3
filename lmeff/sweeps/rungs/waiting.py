"""Which cases wait at a rung for others, where a sweep is run on one machine."""

import time

from lmeff.quantities import format_tokens
from lmeff.sweeps.cases import Case
from lmeff.sweeps.rungs.of_sweep import SweepRungs, is_waiting
from lmeff.sweeps.rungs.rules import Decisions
from lmeff.sweeps.rungs.values import has_come_to

_LOOK_SECONDS = 5.0
"""Between two looks at the files of cases that other processes may train."""


class WaitingAtRungs:
    """What the rules say at the moment; nothing without rungs."""

    def __init__(self, rungs: SweepRungs | None) -> None:
        self._rungs = rungs
        self._decisions = Decisions()
        self._looked = float("-inf")

    @property
    def there(self) -> bool:
        """Whether there are any."""
        return self._rungs is not None

    def look(self, has_changed: bool) -> None:
        """Decides anew what can be decided, and logs it; at once where a case `has_changed`, else from time to time. Raises
        InputError for values that cannot be compared."""
        if self._rungs is None or not (has_changed or time.monotonic() > self._looked + _LOOK_SECONDS):
            return
        self._looked = time.monotonic()
        self._decisions = self._rungs.update()

    def why_killed(self, case: Case) -> str | None:
        """None for a case that goes on."""
        killed = self._decisions.killed.get(case.name)
        return str(killed) if killed else None

    def holds(self, case: Case) -> bool:
        """Whether the case has its value at the rung where others have none yet."""
        return is_waiting(case, self._decisions)

    def waits_for(self, case: Case) -> bool:
        """Whether the rung that is open waits for it."""
        return case.name in self._decisions.missing and not self.holds(case)

    def num_reached(self, case: Case) -> int:
        """To how many rungs a case has come."""
        return sum(has_come_to(case, tokens) for tokens in self._rungs.tokens) if self._rungs else 0

    def describe(self) -> str:
        """Where cases wait, and for which."""
        return f"at {format_tokens(self._decisions.open_tokens or 0)} tokens for {', '.join(self._decisions.missing)}"
