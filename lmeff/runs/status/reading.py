"""The status of one run, read from its small files and from the end of its log."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.files import read_json
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.base import LossKind
from lmeff.formats.losses import training_name
from lmeff.formats.plan import PlanDocument
from lmeff.formats.result import find_result, kind_of
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.formats.trained import planned_tokens, trained_tokens
from lmeff.hub.outbox import Outbox
from lmeff.revisions.revision import Revision

NOT_BEGUN, KILLED = "not begun", "killed"
WRITING, WITHOUT_REPORT, LOST = "writing the report", "complete, no report", "running, but its process is gone"
_LOG_BYTES = 4096
"""Of the end of a log, which hold its last line."""
_WRITING_SECONDS = 600.0
"""How long a report may take on another machine, where nobody can see whether its process is there."""


@dataclass(frozen=True)
class Score:
    """The newest score of a run."""

    task: str
    value: float
    """A share, not percent."""
    revision: str
    metric: str
    """lm-eval's name of the number, such as `acc`."""


@dataclass(frozen=True)
class RunStatus:
    """What a run is doing."""

    folder: str
    state: str
    """The word of `state.json`; `not begun` without one."""
    shown: str
    """The state as people read it: also whether the report is there, and whether its process is."""
    share: float | None
    """Of the tokens that are to be trained, over all parts."""
    step: int
    tokens: int
    total_tokens: int | None
    loss: float | None
    """The last logged training loss; of a complete run that of its last step, which may be in no line of the log."""
    loss_kind: LossKind | None
    """What it is of, where that is not the next token."""
    score: Score | None
    next_anchor: int | None
    seconds_left: float | None
    """At the last logged speed, while it runs."""
    job: str | None
    undelivered: int
    """Revisions in the outbox that are not on the Hub."""
    error: str | None
    updated: str | None

    @property
    def loss_name(self) -> str:
        """Losses of different kinds have names, and columns, of their own."""
        return training_name(self.loss_kind)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"loss": None, self.loss_name: self.loss}


def read_status(folder: Path) -> RunStatus:
    """Raises InputError naming a file that is damaged."""
    run = RunFolder(folder)
    states = _states(run)
    plan = PlanDocument.read(run)
    newest = max(states, key=lambda one: one.updated, default=None)
    # A run in parts that are trained apart has no state of its own.
    state = StateDocument.read(run) or newest
    total = planned_tokens(plan)
    tokens = trained_tokens(run, plan, state)
    record = _last_record(run)
    speed = record.get("tokens_per_second")
    killed = _reason_of_kill(run) if state is not None and state.state not in ("running", "complete") else None
    is_running = state is not None and state.state == "running"
    return RunStatus(
        folder=str(folder),
        state=state.state if state else NOT_BEGUN,
        shown=KILLED if killed else _shown(run, state),
        share=min(1.0, tokens / total) if total else None,
        step=state.step if state else 0,
        tokens=tokens,
        total_tokens=total,
        loss=_last_loss(run, state, record),
        loss_kind=record.get("loss_kind"),
        score=_last_score(run),
        next_anchor=state.next_anchor if state else None,
        seconds_left=max(0.0, total - tokens) / speed if is_running and total and speed else None,
        job=state.job if state else None,
        undelivered=len(Outbox(folder).undelivered()) if run.outbox.is_dir() else 0,
        error=killed or (state.error if state else None),
        updated=state.updated if state else None,
    )


def process_is_there(state: StateDocument) -> bool | None:
    """Whether the process that wrote a state is running; None where it was on another machine."""
    if state.host != socket.gethostname():
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reason_of_kill(run: RunFolder) -> str | None:
    """Why the rules of its sweep ended a run."""
    return str(read_json(run.killed_json).get("reason")) if run.killed_json.is_file() else None


def _states(run: RunFolder) -> list[StateDocument]:
    found = [StateDocument.read(folder) for folder in (run, *run.parts())]
    return [state for state in found if state is not None]


def _shown(run: RunFolder, state: StateDocument | None) -> str:
    if state is None:
        return NOT_BEGUN
    if state.state == "running" and process_is_there(state) is False:
        return LOST
    if state.state != "complete" or run.report_html.is_file():
        return state.state
    is_there = process_is_there(state)
    if is_there is None:
        is_there = (datetime.now(UTC) - datetime.fromisoformat(state.updated)).total_seconds() < _WRITING_SECONDS
    return WRITING if is_there else WITHOUT_REPORT


def _last_record(run: RunFolder) -> dict[str, Any]:
    """The last whole line of the log; of a run in parts, of the log that was written last. Empty without one."""
    logs = [folder.log_jsonl for folder in (run, *run.parts()) if folder.log_jsonl.is_file()]
    if not logs:
        return {}
    with open(max(logs, key=lambda path: path.stat().st_mtime), "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:  # cut off, by the process that writes it or by the beginning of what was read
            continue
        if isinstance(record, dict):
            return record
    return {}


def _last_loss(run: RunFolder, state: StateDocument | None, record: dict[str, Any]) -> float | None:
    """The loss of the step that `tokens` says, where the run ended between two lines of the log; else that of the last line."""
    loss: float | None = record.get("loss")
    if loss is None or state is None or state.state != "complete" or record.get("step") == state.step:
        return loss
    found = [AnchorDocument.read(path.parent) for path in run.find_in_revisions(ANCHOR)]
    at_end = (one.loss for one in found if one.step == state.step and one.loss is not None)
    return next(at_end, loss)


def _last_score(run: RunFolder) -> Score | None:
    """The score of the newest revision that has one: of the first of its tasks by name."""
    names = []
    for folder in run.results.glob("[!.]*") if run.results.is_dir() else ():
        try:
            names.append(Revision.parse(folder.name))
        except InputError:
            continue
    for revision in sorted(names, reverse=True):
        for path in sorted(run.results_of(revision.name).glob("[!.]*.json")):
            if found := _main_number(path):
                metric, value = found
                return Score(path.stem, value, revision.name, metric)
    return None


def _main_number(path: Path) -> tuple[str, float] | None:
    """The main number of a result of lm-eval, with its name; None for other measures."""
    content = find_result(path)
    try:
        if kind_of(content) not in ("pairs", "choices"):
            return None
    except ValueError:
        return None
    results = content.get("results")
    values = results.get(path.stem) if isinstance(results, dict) else None
    metrics = {
        name.partition(",")[0]: value
        for name, value in (values or {}).items()
        if "," in name and isinstance(value, int | float) and "_stderr" not in name
    }
    chosen = next((name for name in ("acc", "acc_norm", "f1") if name in metrics), next(iter(metrics), None))
    return None if chosen is None else (chosen, float(metrics[chosen]))
