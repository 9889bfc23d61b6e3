"""Tells trackers how a run goes: losses, rates, held-out losses and scores, each with its tokens."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.files import has_manifest
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.losses import UNITS, training_name
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.run_log import LogRecord, read_log
from lmeff.progress import warn_above_bars
from lmeff.recipe.schema import Recipe
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.callbacks.trackers import KINDS, Tracked, Tracker

Values = dict[str, float]
_OF_RECORD = ("grad_norm", "learning_rate", "tokens_per_second", "epoch", "teacher_loss")
_OF_ANCHOR = (*(name.removeprefix("dev_") for name in UNITS), "perplexity", "bits_per_byte")


def take_trackers(
    arguments: TrainingArguments, recipe: Recipe, part: str | None, folder: RunFolder
) -> dict[str, Tracker]:
    """The trackers of `report_to` that are ours, not begun; they are taken out of `arguments`, where the others remain with the
    run's project and name. A run is called `NAME-seed-S`, and `NAME-seed-S-PART` if it is a part."""
    project = recipe.training.get("project") or recipe.name
    words = [recipe.training.get("run_name") or recipe.name, f"seed-{recipe.seed}", *([part] if part else [])]
    arguments.project, arguments.run_name = project, "-".join(words)
    tracked = Tracked(
        folder=folder,
        project=project,
        name=arguments.run_name,
        recipe=recipe.model_dump(mode="json"),
        clock=recipe.batch.clock,
        private=recipe.publish.private,
        arguments=arguments,
    )
    wanted = arguments.report_to
    arguments.report_to = [name for name in wanted if name not in KINDS]
    return {name: KINDS[name](tracked) for name in wanted if name in KINDS}


@dataclass
class TrackingCallback(RunCallback):
    """Only the first process tells anything. A tracker that fails is left alone, and never ends a run."""

    priority: ClassVar[Priority] = Priority.TRACK
    name: ClassVar[str] = "tracking"

    trackers: dict[str, Tracker]
    plan: PlanDocument
    log: Path
    """`run.log.jsonl`, which is told again where a tracker lacks it."""
    revision: Callable[[int], Path]
    """The folder of an anchor, by its nominal tokens."""
    scores: Callable[[Path], Mapping[str, float]]
    """A revision's scores, by task and metric."""
    _begun: dict[str, Tracker] = field(default_factory=dict)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if state.is_world_process_zero:
            for name, tracker in self.trackers.items():
                self._do(name, partial(self._begin, name, tracker, state.global_step))

    def _begin(self, name: str, tracker: Tracker, step: int) -> None:
        self._begun[name] = tracker
        known = tracker.begin(step)
        for at, values in self._history():
            if known < at <= step:
                tracker.tell(at, values)

    def _history(self) -> Iterator[tuple[int, Values]]:
        """Everything that is known of the run, by step."""
        told = [(record.step, 1, _of_record(record)) for record in read_log(self.log)]
        for anchor in self.plan.anchors:
            revision = self.revision(anchor.nominal_tokens)
            if has_manifest(revision):
                told.append((anchor.step, 0, self._of_revision(revision)))
        yield from ((step, values) for step, _, values in sorted(told, key=lambda one: one[:2]))

    def on_record(self, record: LogRecord) -> None:
        """Tells a line of the log."""
        self._tell(record.step, _of_record(record))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        for anchor in self.plan.anchors if self._begun else ():
            if anchor.step == state.global_step:
                self.on_revision(self.revision(anchor.nominal_tokens), anchor.step)

    def on_revision(self, revision: Path, step: int) -> None:
        """Tells the held-out loss and the scores of a revision that was just saved and scored."""
        if self._begun:
            self._tell(step, self._of_revision(revision))

    def _of_revision(self, revision: Path) -> Values:
        document = AnchorDocument.read(revision)
        losses = {f"dev/{name}": getattr(document, f"dev_{name}") for name in _OF_ANCHOR}
        scores = {f"scores/{name}": value for name, value in self.scores(revision).items()}
        return _known({"tokens": document.exact_tokens, **losses, **scores})

    def _tell(self, step: int, values: Values) -> None:
        for name, tracker in list(self._begun.items()):
            self._do(name, partial(tracker.tell, step, values))

    def close(self) -> None:
        """Ends what was begun, so that nothing that was told is lost."""
        for name in list(self._begun):
            self._do(name, self._begun.pop(name).close)

    def _do(self, name: str, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # whatever a tracker does, the run goes on
            if tracker := self._begun.pop(name, None):
                with suppress(Exception):  # it may never have been opened
                    tracker.close()
            said = " ".join(str(error).split()) or type(error).__name__
            warn_above_bars(f"{name} (training.report_to) is told nothing more of this run: {said}")


def _of_record(record: LogRecord) -> Values:
    loss = {f"train/{training_name(record.loss_kind)}": record.loss}
    others = {f"train/{name}": getattr(record, name) for name in _OF_RECORD}
    return _known({"tokens": record.tokens, **loss, **others})


def _known(values: Mapping[str, float | None]) -> Values:
    return {name: value for name, value in values.items() if value is not None}
