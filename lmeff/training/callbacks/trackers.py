"""TensorBoard, trackio and Weights & Biases, each as one run that goes on after a restart.

A run that is killed has told its tracker more than its newest checkpoint knows. So `begin` takes away what is past the
checkpoint, where a tracker can, and says up to which step it has everything; the rest is told again from the run's own log.
"""

import os
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainingArguments

from lmeff.clock import Clock
from lmeff.files import read_json, write_json
from lmeff.formats.base import FORMAT
from lmeff.formats.run_folder import RunFolder
from lmeff.library_internals import next_step_of
from lmeff.paths import expanded


@dataclass(frozen=True)
class Tracked:
    """What is tracked: a run, or one of its parts."""

    folder: RunFolder
    """Of the run or part; the tracker's own name for the run is kept there."""
    project: str
    name: str
    recipe: Mapping[str, Any]
    clock: Clock
    private: bool
    """Whether what has to be made on the Hub is private."""
    arguments: TrainingArguments


class Tracker(Protocol):
    def begin(self, step: int) -> int:
        """Opens the run, which goes on after `step`. Returns the last step of which it has everything, -1 for none."""

    def tell(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder, or under TENSORBOARD_LOGGING_DIR. Its axis is tokens."""

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked
        elsewhere = os.environ.get("TENSORBOARD_LOGGING_DIR")
        base = Path(expanded(elsewhere)) / tracked.project if elsewhere else tracked.folder.tensorboard
        self._folder = base / tracked.name

    def begin(self, step: int) -> int:
        from torch.utils.tensorboard import SummaryWriter

        place = str(self._folder.resolve())
        goes_on = step > 0 and _note(self._tracked, "tensorboard") == place and self._folder.exists()
        # What was written past the checkpoint, or by another run of this name, is not shown any more.
        purged = self._tracked.clock.tokens_at(step) + 1 if goes_on else 0
        self._writer = SummaryWriter(str(self._folder), purge_step=purged)
        _keep_note(self._tracked, "tensorboard", place)
        return step if goes_on else -1

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        tokens = self._tracked.clock.tokens_at(step)
        for name, value in values.items():
            if name != "tokens":
                self._writer.add_scalar(name, value, tokens)
        self._writer.add_scalar("step", step, tokens)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A run of the local trackio, or of a Space or server."""

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked

    def begin(self, step: int) -> int:
        import trackio
        from trackio.utils import TRACKIO_DIR

        tracked, arguments = self._tracked, self._tracked.arguments
        is_local = not (arguments.trackio_space_id or {"TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"} & os.environ.keys())
        if is_local:
            TRACKIO_DIR.mkdir(parents=True, exist_ok=True)
        ours = _note(tracked, "trackio")
        self._run = trackio.init(
            project=tracked.project,
            name=tracked.name,
            config=dict(tracked.recipe),
            # Another run of this name may be there, of a folder that was removed: it is left alone.
            resume="allow" if ours else "never",
            space_id=arguments.trackio_space_id,
            bucket_id=arguments.trackio_bucket_id,
            private=tracked.private,
            embed=False,
        )
        if not ours:
            _keep_note(tracked, "trackio", self._run.id)
            return -1
        self._run.id = ours  # it looks for a run by its name, and may have found none, or another one
        return _forget_after(tracked.project, ours, step) if is_local else next_step_of(self._run) - 1

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        import trackio

        trackio.finish()
        space, frozen = trackio.context_vars.current_space_id.get(), self._tracked.arguments.trackio_static_space_id
        if space and isinstance(frozen, str):
            trackio.freeze(
                space_id=space,
                project=self._tracked.project,
                new_space_id=frozen,
                private=self._tracked.private,
            )


def _forget_after(project: str, run_id: str, step: int) -> int:
    """Removes a local trackio run's records past `step`, and its last step, which may not be whole. Returns the step before.
    On a network file system trackio only ever appends, and nothing is removed."""
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import get_storage_mode

    if get_storage_mode() != "sqlite":
        return step
    SQLiteStorage.init_db(project)
    with closing(sqlite3.connect(SQLiteStorage.get_project_db_path(project), timeout=30)) as database, database:
        (last,) = database.execute("SELECT MAX(step) FROM metrics WHERE run_id = ?", (run_id,)).fetchone()
        first = step + 1 if last is None else min(step + 1, last)
        database.execute("DELETE FROM metrics WHERE run_id = ? AND step >= ?", (run_id, first))
    return first - 1 if last is not None else -1


class Wandb:
    """A run of Weights & Biases. What it was told once stays: steps that are trained again after a kill are not told again."""

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked

    def begin(self, step: int) -> int:
        import wandb

        tracked = self._tracked
        ours = _note(tracked, "wandb") or uuid.uuid4().hex[:12]
        _keep_note(tracked, "wandb", ours)
        self._run = wandb.init(
            project=tracked.project,
            name=tracked.name,
            id=ours,
            resume="allow",
            config=dict(tracked.recipe),
            dir=str(tracked.folder),
        )
        self._run.define_metric("tokens")
        self._run.define_metric("*", step_metric="tokens")
        return self._run.step - 1 if self._run.resumed else -1

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._run.step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


KINDS: dict[str, Callable[[Tracked], Tracker]] = {"tensorboard": TensorBoard, "trackio": Trackio, "wandb": Wandb}
"""By their names in `training.report_to`; other trackers are those of transformers."""


def _notes(tracked: Tracked) -> dict[str, Any]:
    path = tracked.folder.trackers_json
    return read_json(path) if path.exists() else {}


def _note(tracked: Tracked, kind: str) -> str | None:
    return _notes(tracked).get(kind)


def _keep_note(tracked: Tracked, kind: str, value: str) -> None:
    if _note(tracked, kind) != value:
        write_json(tracked.folder.trackers_json, {"format": FORMAT, **_notes(tracked), kind: value})
