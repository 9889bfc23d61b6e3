"""`state.json`: what a run is doing. Needs no torch, so that a finished run is recognised at once."""

import os
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lmeff.errors import InputError
from lmeff.files import read_json, write_json
from lmeff.recipe.documents import PlanAnchor, StateDocument


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def launched_rank() -> int:
    """This process among those of the launch, from 0."""
    return int(os.environ.get("RANK", "0"))


def launched_world_size() -> int:
    """Processes that the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def slurm_job() -> str | None:
    """`123`, or `123_4` in an array; None outside Slurm."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID")


@dataclass
class RunState:
    folder: Path
    batch_tokens: int
    before: StateDocument | None
    """What the file said when this process began."""
    anchors: list[PlanAnchor] = field(default_factory=list)
    step: int = 0

    def __post_init__(self) -> None:
        self.step = self.before.step if self.before else 0

    def write(self, state: str, error: str | None = None) -> None:
        """Replaces `state.json`; `step` stays what it was last set to."""
        following = [anchor.nominal_tokens for anchor in self.anchors if anchor.step > self.step]
        document = StateDocument(
            state=state,
            step=self.step,
            tokens=self.step * self.batch_tokens,
            next_anchor=following[0] if following else None,
            pid=os.getpid(),
            host=socket.gethostname(),
            job=slurm_job(),
            error=error,
            updated=now(),
        )
        write_json(self.folder / "state.json", document.model_dump())


def read_state(folder: Path) -> StateDocument | None:
    """The state of a run, None when it has not begun."""
    path = folder / "state.json"
    if not path.exists():
        return None
    try:
        return StateDocument.model_validate(read_json(path))
    except ValueError as error:
        raise InputError(f"{path}: not a state file ({' '.join(str(error).split())})") from None


def report_failure(run_state: RunState | None, word: str, message: str, patience_seconds: float = 20.0) -> None:
    """Says on stderr, and in `state.json` when the run has a folder, why the run ended.

    The first process speaks. Another one that failed waits for it to do so, because a launcher ends all processes when one
    leaves; it speaks itself when the first has nothing to say, being stuck in a collective, say.
    """
    if launched_rank() > 0:
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            time.sleep(0.2)
            said = read_state(run_state.folder) if run_state is not None else None
            if said is not None and said != run_state.before and said.state == word:
                return
    if run_state is not None and run_state.folder.exists():
        run_state.write(word, message)
    print(message, file=sys.stderr, flush=True)
