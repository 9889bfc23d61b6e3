"""Checkpoints by the clock, beside those by the step."""

import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@dataclass
class TimedCheckpointCallback(TrainerCallback):
    every_minutes: float
    """Minutes since the last checkpoint, by the first process's clock."""
    _last: float = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._last = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        due = torch.tensor(int(time.monotonic() - self._last >= 60 * self.every_minutes), device=args.device)
        if dist.is_initialized():
            # Clocks differ a little, and a save that only some processes begin would never end.
            dist.broadcast(due, src=0)
        if due.item():
            control.should_save = True
