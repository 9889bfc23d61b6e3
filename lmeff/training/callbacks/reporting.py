"""What a run tells while it works: the log, `state.json` and the progress bar. All on the first process only."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_log import LogRecord, forget_after
from lmeff.quantities import format_tokens
from lmeff.runs.state import RunState, now
from lmeff.training.trainer import LmeffTrainer


@dataclass
class RunLogCallback(TrainerCallback):
    """Appends a record to `run.log.jsonl` whenever the Trainer logs."""

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
        )
        self._last, self._losses_begin = (state.global_step, seconds), state.global_step
        self.trainer.num_skipped_before_log = skipped
        record.append(self.path)
        self.on_record(record)


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


@dataclass
class StateCallback(TrainerCallback):
    """Keeps `state.json` current, of the run and of its part: at the start, at every log and after every anchor."""

    run_states: Sequence[RunState]

    def _update(self, state: TrainerState) -> None:
        for run_state in self.run_states if state.is_world_process_zero else ():
            run_state.step = state.global_step
            run_state.write("running")

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._update(state)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._update(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if any(anchor.step == state.global_step for anchor in self.run_states[0].anchors):
            self._update(state)


@dataclass
class ProgressCallback(TrainerCallback):
    """A bar in tokens, with tokens per second, the loss and the next anchor."""

    plan: PlanDocument
    trainer: LmeffTrainer
    _bar: tqdm | None = None
    _shown: dict[str, str] = field(default_factory=dict)
    _start: tuple[int, float] = (0, 0.0)
    """Step and training seconds at which this process began."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if not state.is_world_process_zero or args.disable_tqdm:
            return
        print(f"training on {_devices(args)}", file=sys.stderr, flush=True)
        self._start = (state.global_step, self.trainer.train_seconds)
        self._bar = tqdm(
            total=self.plan.num_tokens,
            initial=self.plan.clock.tokens_at(state.global_step),
            desc=self.plan.name,
            unit=" tokens",
            unit_scale=True,
            # A log file gets a line now and then, a terminal a bar that moves.
            mininterval=0.5 if sys.stderr.isatty() else 15,
            dynamic_ncols=sys.stderr.isatty(),
        )
        self._next(state.global_step)

    def _next(self, step: int) -> None:
        following = [anchor for anchor in self.plan.anchors if anchor.step > step]
        self._shown["next anchor"] = format_tokens(following[0].nominal_tokens) if following else "none"
        self._bar.set_postfix(self._shown, refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if self._bar is not None:
            self._next(state.global_step)
            self._bar.update(self.plan.batch_tokens)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict, **_) -> None:
        if self._bar is not None and "loss" in logs:
            self._shown["loss"] = f"{logs['loss']:.3f}"

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if self._bar is not None:
            self.close()
            (first_step, first_seconds), clock = self._start, self.plan.clock
            seconds = max(1e-9, self.trainer.train_seconds - first_seconds)
            speed = format_tokens(clock.tokens_at(state.global_step - first_step) / seconds)
            tokens = format_tokens(clock.tokens_at(state.global_step))
            print(f"{tokens} tokens, {speed} tokens/s of training", file=sys.stderr)

    def close(self) -> None:
        """Ends the bar's line, so that what is said next stands on its own."""
        if self._bar is not None:
            self._bar.close()


def _devices(args: TrainingArguments) -> str:
    """`the CPU, 2 processes with 1 thread each`, or `2 x NVIDIA H100 80GB HBM3`."""
    processes = args.world_size
    if args.device.type == "cuda":
        name = torch.cuda.get_device_name(args.device)
        return name if processes == 1 else f"{processes} x {name}"
    threads = torch.get_num_threads()
    each = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"the CPU with {each}" if processes == 1 else f"the CPU, {processes} processes with {each} each"
