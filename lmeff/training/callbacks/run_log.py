"""`run.log.jsonl`, written on the first process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_log import LogRecord, forget_after
from lmeff.runs.state import now
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.trainer import LmeffTrainer


@dataclass
class RunLogCallback(RunCallback):
    """Appends a record to `run.log.jsonl` whenever the Trainer logs."""

    priority: ClassVar[Priority] = Priority.LOG
    name: ClassVar[str] = "log"

    path: Path
    plan: PlanDocument
    trainer: LmeffTrainer
    on_record: Callable[[LogRecord], None] = lambda record: None
    """Called with every record that was written."""
    _last: tuple[int, float] = (0, 0.0)
    """Step and training seconds at the last record."""
    _losses_begin: int = 0
    """The step after which the losses of the coming record begin: before a restart, if it is that of a checkpoint's sum."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._losses_begin = self.trainer.last_logged_step
        self._last = (state.global_step, self.trainer.train_seconds)
        if state.is_world_process_zero:
            forget_after(self.path, state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict, **_) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        seconds, (last_step, last_seconds) = self.trainer.train_seconds, self._last
        skipped = self.trainer.num_skipped_steps
        is_whole = skipped == self.trainer.num_skipped_before_log or self.trainer.args.fp16
        tokens = self.plan.clock.tokens_at(state.global_step - last_step)
        # A mean over some of the steps would look like the mean over all.
        loss = _finite(logs["loss"]) if is_whole else None
        record = LogRecord(
            step=state.global_step,
            tokens=self.plan.clock.tokens_at(state.global_step),
            epoch=round(state.epoch or 0.0, 6),
            loss=loss,
            loss_steps=None if loss is None else (self._losses_begin + 1, state.global_step),
            grad_norm=_finite(logs.get("grad_norm")),
            learning_rate=logs["learning_rate"],
            tokens_per_second=round(tokens / (seconds - last_seconds), 1) if seconds > last_seconds else None,
            num_loss_tokens=self.trainer.loss_positions.after(state.global_step),
            num_skipped_steps=skipped,
            time=now(),
            teacher_loss=_finite(logs.get("teacher_loss")),
            loss_kind=None if (kind := self.trainer.objective.loss_kind) == "causal" else kind,
        )
        self._last, self._losses_begin = (state.global_step, seconds), state.global_step
        self.trainer.num_skipped_before_log = skipped
        record.append(self.path)
        self.on_record(record)


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
