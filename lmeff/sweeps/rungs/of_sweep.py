"""What the rules of a sweep decide from its result files, and where that is logged."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmeff.files import locked, read_json, write_json, write_text
from lmeff.runs.completed import is_complete
from lmeff.runs.state import now
from lmeff.sweeps.cases import Case, Sweep
from lmeff.sweeps.rungs.checks import rung_tokens
from lmeff.sweeps.rungs.rules import Decisions, Rung, decide
from lmeff.sweeps.rungs.values import ValuesAtAnchors, has_come_to, has_failed

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
        return self.sweep.cases[0].run.path.parents[1] / LOG

    @property
    def tokens(self) -> list[int]:
        """Where the rungs are."""
        kill = self.sweep.ranking.kill
        return rung_tokens(kill, self.sweep.cases[0].recipe) if kill else []

    def decide(self) -> Decisions:
        """From the files as they are now. Raises InputError for values that cannot be compared."""
        ranking, recipes = self.sweep.ranking, [case.recipe for case in self.sweep.cases]
        assert ranking.kill is not None
        by_name: dict[str, list[Case]] = defaultdict(list)
        for case in self.sweep.cases:
            by_name[case.name].append(case)
        values = ValuesAtAnchors(ranking.metric, any(one.tokenizer != recipes[0].tokenizer for one in recipes))
        anchors = [tokens for tokens in recipes[0].anchors.tokens if tokens]
        for name in by_name:  # a task's results say which of two values is the better one
            values.mean(by_name[name], anchors[0])
        return decide(
            list(by_name),
            anchors,
            self.tokens,
            ranking.kill,
            lambda name, tokens: values.mean(by_name[name], tokens),
            lambda name: has_failed(by_name[name]),
            lower_is_better=not values.is_higher_better,
            never=ranking.never_killed,
        )

    def record(self, decisions: Decisions) -> None:
        """Logs what is decided, each decision once, and says in the folders of the runs that end why they do."""
        if decisions.rungs:
            with locked(self.log.with_name(f".{LOG}.lock")):
                self._add_to_log([_logged(rung, self.sweep) for rung in decisions.rungs])
        for case in self.sweep.cases:
            note, killed = case.run.killed_json, decisions.killed.get(case.name)
            if killed is None:
                note.unlink(missing_ok=True)
            elif case.run.path.is_dir() and not is_complete(case.run):
                content = {"format": 1, "reason": str(killed), **killed.to_json()}
                if not note.is_file() or read_json(note) != content:
                    write_json(note, content)

    def _add_to_log(self, lines: list[dict[str, Any]]) -> None:
        text = self.log.read_text(encoding="utf-8") if self.log.is_file() else ""
        newest = {}
        for line in map(json.loads, text.splitlines()):
            newest[line["tokens"]] = {key: value for key, value in line.items() if key != "time"}
        new = [json.dumps({**line, "time": now()}) for line in lines if newest.get(line["tokens"]) != line]
        if new:
            write_text(self.log, text + "\n".join(new) + "\n")


def is_waiting(case: Case, decisions: Decisions) -> bool:
    """Whether a run has come to the rung that is not decided yet, or beyond."""
    return decisions.open_tokens is not None and has_come_to(case, decisions.open_tokens)


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
