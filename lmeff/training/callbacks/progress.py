"""The progress bar, on the first process."""

import sys
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from tqdm import tqdm
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.plan import PlanDocument
from lmeff.logs import is_quiet, note
from lmeff.quantities import format_tokens
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.trainer import LmeffTrainer


@dataclass
class ProgressCallback(RunCallback):
    """A bar in tokens, with tokens per second, the loss and the next anchor."""

    priority: ClassVar[Priority] = Priority.SHOW_PROGRESS
    name: ClassVar[str] = "progress"

    plan: PlanDocument
    trainer: LmeffTrainer
    _bar: tqdm | None = None
    _shown: dict[str, str] = field(default_factory=dict)
    _start: tuple[int, float] = (0, 0.0)
    """Step and training seconds at which this process began."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if not state.is_world_process_zero or args.disable_tqdm:
            return
        note(f"training on {_devices(args)}")
        self._start = (state.global_step, self.trainer.train_seconds)
        self._bar = tqdm(
            disable=is_quiet(),
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
            note(f"{tokens} tokens, {speed} tokens/s of training")

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
