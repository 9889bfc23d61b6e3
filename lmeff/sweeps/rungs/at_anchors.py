"""A case that trains, and what the rules of its sweep say of it at its anchors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.errors import InputError
from lmeff.logs import warn
from lmeff.quantities import format_tokens
from lmeff.runs.process import launched_world_size
from lmeff.runs.signals import Interrupted, Killed, StopRequests
from lmeff.sweeps.cases import Case
from lmeff.sweeps.rungs.of_sweep import SweepRungs, is_waiting
from lmeff.sweeps.rungs.rules import Decisions, KillReason

if TYPE_CHECKING:
    from lmeff.training.callbacks.anchors import AnchorMeasures


@dataclass(frozen=True)
class CaseRungs:
    """The rungs of a sweep, for one of its runs."""

    rungs: SweepRungs
    case: Case
    pauses: bool
    """Whether it stops where the other cases have not come yet."""

    def killed(self) -> KillReason | None:
        """Why the case has ended early; None for one that goes on."""
        decisions = self._guarded(self.rungs.decide)
        return decisions.killed.get(self.case.name) if decisions else None

    def check(self) -> None:
        """Raises Killed or Interrupted for a run that has nothing to do. Processes that train together may not read the same,
        and find out at their first anchor."""
        if launched_world_size() == 1 and (reason := self.reason_to_stop()):
            raise reason

    def reason_to_stop(self) -> Interrupted | None:
        """By the files as they are now; what is decided is logged."""
        if (decisions := self._guarded(lambda: self.rungs.update(self.case))) is None:
            return None
        if killed := decisions.killed.get(self.case.name):
            return Killed(f"{self.case}: {killed}")
        if self.pauses and is_waiting(self.case, decisions):
            at = format_tokens(decisions.open_tokens or 0)
            return Interrupted(
                f"{self.case}: paused at {at} tokens, where {', '.join(decisions.missing)} must come first"
            )
        return None

    def _guarded(self, decide: Callable[[], Decisions]) -> Decisions | None:
        """None where values cannot be compared, or files not be read, which is said: then nobody ends early. Files of other
        runs are no reason for this one to fail."""
        try:
            return decide()
        except (InputError, OSError) as error:
            warn(f"no case is killed: {error}")
            return None

    def watched(self, measures: "AnchorMeasures", stop: StopRequests) -> "AnchorMeasures":
        """What measures a run's anchors, and then asks the run to stop where it has to."""
        return _MeasuresAtRungs(self, measures, stop)


@dataclass
class _MeasuresAtRungs:
    case_rungs: CaseRungs
    measures: "AnchorMeasures"
    stop: StopRequests
    are_at_anchors: bool = True

    def at_anchor(self, revision: Path) -> None:
        """Collective, as what it holds is: all processes are given the first one's reason to stop."""
        from lmeff.training.engines.engine import run_on_rank_zero

        if self.measures.are_at_anchors:
            self.measures.at_anchor(revision)
        if reason := run_on_rank_zero(self._reason):
            self.stop.ask(reason)

    def scores(self, revision: Path) -> Mapping[str, float]:
        """As what it holds says."""
        return self.measures.scores(revision)

    def _reason(self) -> Interrupted | None:
        return None if self.stop.asked else self.case_rungs.reason_to_stop()
