"""What the rules of a sweep decide from its result files, and where that is logged."""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lmeff.files import locked, write_text
from lmeff.logs import warn
from lmeff.runs.completed import is_complete
from lmeff.runs.state import now
from lmeff.sweeps.cases import Case, Sweep
from lmeff.sweeps.rungs.checks import rung_tokens
from lmeff.sweeps.rungs.rules import Decisions, KillReason, Rung, decide
from lmeff.sweeps.rungs.values import ValuesAtAnchors

LOG = "rungs.log.jsonl"
"""In the sweep's folder: a line for every rung that is decided, and a further one where other values decide it anew."""


@dataclass(frozen=True)
class SweepRungs:
    """The rungs of a sweep whose cases may end early."""

    sweep: Sweep

    @classmethod
    def of(cls, sweep: Sweep) -> "SweepRungs | None":
        """None where no case ends early."""
        return cls(sweep) if sweep.ranking.kill else None

    @property
    def log(self) -> Path:
        return self.sweep.compared[0].run.path.parents[1] / LOG

    @property
    def tokens(self) -> list[int]:
        """Where the rungs are."""
        kill = self.sweep.ranking.kill
        return rung_tokens(kill, self.sweep.compared[0].recipe) if kill else []

    def decide(self) -> Decisions:
        """From the files as they are now. Raises InputError for values that cannot be compared."""
        ranking, rungs = self.sweep.ranking, self.tokens
        assert ranking.kill is not None
        anchors = [tokens for tokens in self.sweep.compared[0].recipe.anchors.tokens if 0 < tokens <= rungs[-1]]
        values = ValuesAtAnchors(self.sweep.compared, ranking.metric, anchors)
        decisions = decide(
            list(values.by_name),
            anchors,
            rungs,
            ranking.kill,
            values.mean,
            values.has_failed,
            values.lower_is_better,
            ranking.never_killed,
        )
        if decisions.open_tokens is None:
            return decisions
        return replace(decisions, arrived=values.runs_at(decisions.open_tokens))

    def update(self, case: Case | None = None) -> Decisions:
        """Decides, logs each decision once, and says in the folders of the runs that end why they do: in all of them, or in
        that of the `case` whose process this is. All under one lock, so that nothing older follows what is newer. What cannot
        be written is said, and decides nothing. Raises InputError for values that cannot be compared."""
        try:
            with locked(self.log.with_name(f".{LOG}.lock")):
                decisions = self.decide()
                self._add_to_log([_logged(rung, self.sweep) for rung in decisions.rungs])
                for one in self.sweep.compared if case is None else (case,):
                    _write_note(one, decisions.killed.get(one.name))
        except OSError as error:
            _warn_once(f"what the rules of {self.sweep.name} decide is not written: {error}")
            return self.decide()
        return decisions

    def _add_to_log(self, lines: list[dict[str, Any]]) -> None:
        text = self.log.read_text(encoding="utf-8") if self.log.is_file() else ""
        newest = {}
        for line in map(json.loads, text.splitlines()):
            newest[line["tokens"]] = {key: value for key, value in line.items() if key != "time"}
        new = [json.dumps({**line, "time": now()}) for line in lines if newest.get(line["tokens"]) != line]
        if new:
            write_text(self.log, text + "\n".join(new) + "\n")


def is_waiting(case: Case, decisions: Decisions) -> bool:
    """Whether a run has its value at the rung that is not decided yet. One that was stopped while it was scored there has
    not."""
    return (case.name, case.seed) in decisions.arrived


@cache
def _warn_once(text: str) -> None:
    warn(text)


def _write_note(case: Case, killed: KillReason | None) -> None:
    note = case.run.killed_json
    if killed is None:
        note.unlink(missing_ok=True)
    elif case.run.path.is_dir() and not is_complete(case.run):
        text = json.dumps({"format": 1, "reason": str(killed), **killed.to_json()}, indent=2, ensure_ascii=False) + "\n"
        if not note.is_file() or note.read_text(encoding="utf-8") != text:
            write_text(note, text)


def _logged(rung: Rung, sweep: Sweep) -> dict[str, Any]:
    return {
        "format": 1,
        "tokens": rung.tokens,
        "rungs": sweep.ranking.rungs,
        "metric": sweep.ranking.metric,
        "values": dict(rung.values),
        "left_out": list(rung.left_out),
        "killed": {name: killed.to_json() for name, killed in rung.killed.items()},
    }
