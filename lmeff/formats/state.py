"""`state.json` of a run or of one of its parts: what it is doing."""

from typing import Literal, Self

from lmeff.formats.base import FORMAT, NonNegative, StrictModel
from lmeff.formats.run_folder import RunFolder

State = Literal["running", "interrupted", "failed", "complete"]


class StateDocument(StrictModel):
    """`state.json` of a run: what it is doing, for people and for Slurm scripts."""

    format: Literal[1] = FORMAT
    state: State
    step: NonNegative
    tokens: NonNegative
    next_anchor: NonNegative | None
    """Nominal tokens of the next anchor; null when none is left."""
    pid: int
    host: str
    job: str | None
    """Slurm job, `123` or `123_4`."""
    error: str | None
    updated: str
    """UTC, ISO 8601."""

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """None when it has not begun. Raises InputError for a damaged file."""
        return cls.read_file(run.state_json) if run.state_json.exists() else None

    def write(self, run: RunFolder) -> None:
        self.write_file(run.state_json)
