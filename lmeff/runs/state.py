"""Keeps the `state.json` of a run while it works, and which changes of its recipe were accepted. No torch."""

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lmeff.clock import Clock
from lmeff.files import read_json, write_json
from lmeff.formats.base import FORMAT
from lmeff.formats.plan import PlanAnchor
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import State, StateDocument


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def slurm_job() -> str | None:
    """`123`, or `123_4` in an array; None outside Slurm."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID")


@dataclass
class RunState:
    """What a process knows of the state of its run, and writes into `state.json`."""

    folder: RunFolder
    """Of the run, or of one of its parts."""
    clock: Clock
    before: StateDocument | None
    """What the file said when this process began."""
    anchors: list[PlanAnchor] = field(default_factory=list)
    step: int = 0
    is_withheld: bool = False
    """Whether nothing is written yet: the run is complete, and stays so until it is known that it can train on."""

    def __post_init__(self) -> None:
        self.step = self.before.step if self.before else 0

    def write(self, state: State, error: str | None = None) -> None:
        """Replaces `state.json`; `step` stays what it was last set to."""
        if self.is_withheld:
            return
        following = [anchor.nominal_tokens for anchor in self.anchors if anchor.step > self.step]
        StateDocument(
            state=state,
            step=self.step,
            tokens=self.clock.tokens_at(self.step),
            next_anchor=following[0] if following else None,
            pid=os.getpid(),
            host=socket.gethostname(),
            job=slurm_job(),
            error=error,
            updated=now(),
        ).write(self.folder)


def record_changes(run: RunFolder, step: int, changes: list[str]) -> list[dict[str, Any]]:
    """Adds what was accepted at `step` to the run's list of accepted changes, and returns all of it, for the provenance."""
    path = run.accepted_changes_json
    recorded = read_json(path)["changes"] if path.exists() else []
    # A start that was killed before it got further has recorded them already.
    if changes and not (recorded and recorded[-1]["changes"] == changes):
        recorded = [*recorded, {"step": step, "time": now(), "changes": changes}]
        write_json(path, {"format": FORMAT, "changes": recorded})
    return recorded
