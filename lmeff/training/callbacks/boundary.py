"""What all processes decide together at the end of a step: to save by the clock, to stop, to give up on a broken model."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.errors import RunFailed
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.trainer import LmeffTrainer


class Agreement:
    """The maximum of a few numbers over all processes, on the CPU, so that no GPU waits for it."""

    def __init__(self) -> None:
        self._group = None
        if dist.is_initialized() and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo")

    def highest(self, *values: int) -> list[int]:
        """Collective; every process is given the same."""
        if not dist.is_initialized():
            return list(values)
        together = torch.tensor(values)
        dist.all_reduce(together, dist.ReduceOp.MAX, group=self._group)
        return together.tolist()


@dataclass
class BoundaryCallback(RunCallback):
    priority: ClassVar[Priority] = Priority.AGREE
    name: ClassVar[str] = "boundary"

    trainer: LmeffTrainer
    asked_to_stop: Callable[[], bool]
    every_minutes: float | None
    """Minutes between checkpoints, by the first process's clock; None for none by the clock."""
    save_at: Collection[int] = ()
    """Steps of which a checkpoint is made in any case."""
    stopped: bool = False
    """Whether the run ended here because somebody asked."""
    _saved_at: float = 0.0
    _agreement: Agreement = field(init=False, repr=False, compare=False)
    """Made when training begins."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved_at = time.monotonic()
        self._agreement = Agreement()
        # transformers takes these from the checkpoint, where a run may have had others.
        state.compute_steps(args, state.max_steps)
        self.trainer.restore_log_window()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved_at = time.monotonic()

    def was_asked_to_stop(self) -> bool:
        """Whether any process was. Collective; every process is given the same answer."""
        return bool(self._agreement.highest(int(self.asked_to_stop()))[0])

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # DeepSpeed leaves such a step out by itself. Without gradients any other optimizer leaves everything as it is.
        if self.trainer.leaves_out_broken_steps and self.trainer.first_broken_step() == state.global_step + 1:
            kwargs["model"].zero_grad(set_to_none=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Collective: every process takes the same decision."""
        due = self.every_minutes is not None and time.monotonic() - self._saved_at >= 60 * self.every_minutes
        # Looking at a number on a GPU makes the CPU wait for it, so it is done where the Trainer looks anyway.
        looked = args.device.type == "cpu" or control.should_log or control.should_save
        stop, due_first, broken = self._agreement.highest(
            int(self.asked_to_stop()), int(due and state.is_world_process_zero), self._broken(state) if looked else 0
        )
        # A run that has converged ends without a checkpoint, which would be gone on from.
        converged = control.should_training_stop and state.global_step < state.max_steps
        if (due_first or state.global_step in self.save_at) and not converged:
            control.should_save = True
        if stop and not converged:
            self.stopped = control.should_save = control.should_training_stop = True
        if control.should_save and not looked:
            (broken,) = self._agreement.highest(self._broken(state))
        if broken:
            self._give_up(state.max_steps + 1 - broken)

    def _broken(self, state: TrainerState) -> int:
        """The larger, the earlier the first broken step; 0 when there is none, or when such steps are left out."""
        first = None if self.trainer.leaves_out_broken_steps else self.trainer.first_broken_step()
        return 0 if first is None else state.max_steps + 1 - first

    def _give_up(self, step: int) -> None:
        trainer, clock = self.trainer, self.trainer.recipe.batch.clock
        ids = trainer.sequence_ids_of(step)
        shown = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
        raise RunFailed(
            f"the loss or the gradient of step {step} is not finite (tokens {clock.tokens_at(step - 1):,} to"
            f" {clock.tokens_at(step):,}, sequences {shown}); nothing is kept of it. Lower"
            " optimizer.learning_rate, lengthen schedule.warmup, or leave such steps out with optimizer.nonfinite=skip"
        )
