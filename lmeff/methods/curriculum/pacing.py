"""Where a stage ends: at the end of a step, all processes take the same decision, and it is in the checkpoint of that step."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.methods.curriculum.costs import steps_of_run
from lmeff.methods.curriculum.order import DecidedStages
from lmeff.methods.curriculum.seen import DocumentsSeen
from lmeff.models.families import family_of
from lmeff.plan.compute import steps_between_looks
from lmeff.training.callbacks.callback import Priority
from lmeff.training.callbacks.plateau import PlateauCallback
from lmeff.training.trainer import LmeffTrainer


@dataclass
class PacingCallback(PlateauCallback):
    priority: ClassVar[Priority] = Priority.LEARN
    name: ClassVar[str] = "curriculum"

    trainer: LmeffTrainer
    order: DecidedStages
    seen: DocumentsSeen
    begin: Callable[[int, int], None]
    """Begins the stage of a number at a step. Collective."""
    log: Path
    """JSON lines, one for each look and each stage."""
    begins_with_the_end: bool = False
    """Whether the last step may begin a stage."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            if state.global_step:
                forget_after(self.log, state.global_step)
            else:  # also again, after a run that was killed before its first checkpoint
                self.log.write_text("")
                self._write(0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        recipe, step, number = self.trainer.recipe, state.global_step, self.order.stages[-1].number
        wanted = recipe.curriculum
        if number >= wanted.last_stage:
            return
        losses: dict[str, Any] = {}
        if not wanted.looks:
            due = wanted.stage_at(step, steps_of_run(recipe, args.max_steps))
        elif step % steps_between_looks(recipe, wanted.look_every) == 0:
            losses = self._look()
            due = number + (self.looks_without_improvement >= (wanted.patience or 1))
        else:
            return
        if step == args.max_steps and not self.begins_with_the_end:
            due = number
        if due > number:
            self.looks_without_improvement = 0
            if "best_of_all_stages" not in wanted.faults:
                self.best = None
            self.begin(due, step)
        if state.is_world_process_zero and (losses or due > number):
            self._write(step, losses)

    def _look(self) -> dict[str, Any]:
        """Compares the held-out loss with the best one. Collective."""
        trainer, recipe = self.trainer, self.trainer.recipe
        with trainer.timer_stopped(), trainer.weights_to_keep():
            held_out = trainer.held_out_loss()
        per_token = family_of(recipe).forward_flops_per_token(recipe.batch.sequence_length)
        self.order.flops += trainer.held_out_text.windows.size * per_token
        # As scores are: a rounding difference of another number of processes seldom decides.
        self.compare(float(np.round(held_out.loss, 4)), recipe.curriculum.threshold or 0.0)
        return {held_out.name: held_out.loss, **self.state()}

    def _write(self, step: int, losses: dict[str, Any] | None = None) -> None:
        stage = self.order.stages[-1]
        documents = self.order.documents_of(len(self.order.stages) - 1)
        first = self.order.tokens.first_readings
        line = {
            "step": step,
            "tokens": self.trainer.recipe.batch.clock.tokens_at(step),
            **(losses or {}),
            "stage": stage.number,
            "share": stage.share,
            "num_documents": len(np.unique(first if documents is None else first[documents])),
            "num_documents_seen": self.seen.after(step),
        }
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
