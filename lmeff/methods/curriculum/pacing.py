"""Where a stage ends: at the end of a step, all processes take the same decision, and it is in the checkpoint of that step."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.methods.curriculum.costs import steps_between_looks, steps_of_run
from lmeff.methods.curriculum.order import DecidedStages
from lmeff.methods.curriculum.seen import DocumentsSeen
from lmeff.models.families import family_of
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.trainer import LmeffTrainer


@dataclass
class PacingCallback(RunCallback):
    priority: ClassVar[Priority] = Priority.LEARN
    name: ClassVar[str] = "curriculum"

    trainer: LmeffTrainer
    order: DecidedStages
    seen: DocumentsSeen
    begin: Callable[[int, int], None]
    """Begins the stage of a number at a step. Collective."""
    log: Path
    """JSON lines, one for each look and each stage."""
    best: float | None = None
    """The lowest held-out loss that counts."""
    looks_without_improvement: int = 0

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "looks_without_improvement": self.looks_without_improvement}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.best, self.looks_without_improvement = saved["best"], saved["looks_without_improvement"]

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            forget_after(self.log, state.global_step)
            if state.global_step == 0:
                self._write(0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        recipe, step, number = self.trainer.recipe, state.global_step, self.order.stages[-1].number
        wanted = recipe.curriculum
        if number >= wanted.last_stage:
            return
        losses: dict[str, Any] = {}
        if not wanted.looks:
            num_steps = steps_of_run(recipe, args.max_steps)
            # What begins with the end would be scored for nothing. A look is not left out: the run may be given later anchors.
            due = wanted.stage_at(step, num_steps) if step < num_steps else number
        elif step % steps_between_looks(recipe) == 0:
            losses = self._look()
            due = number + (losses["looks_without_improvement"] >= (wanted.patience or 1))
        else:
            return
        if due > number:
            self.looks_without_improvement = 0
            if "best_of_all_stages" not in wanted.faults:
                self.best = None
            self.begin(due, step)
        if state.is_world_process_zero and (losses or due > number):
            self._write(step, losses)

    def _look(self) -> dict[str, Any]:
        """Compares the held-out loss with the best one. Collective."""
        trainer, wanted = self.trainer, self.trainer.recipe.curriculum
        with trainer.timer_stopped(), trainer.weights_to_keep():
            held_out = trainer.held_out_loss()
        length, windows = trainer.recipe.batch.sequence_length, len(trainer.held_out_text.windows)
        self.order.flops += windows * length * family_of(trainer.recipe).forward_flops_per_token(length)
        # As scores are, so that another number of processes takes the same decision.
        loss = float(np.round(held_out.loss, 4))
        if self.best is None or loss < self.best - (wanted.threshold or 0.0):
            self.best, self.looks_without_improvement = loss, 0
        else:
            self.looks_without_improvement += 1
        return {held_out.name: held_out.loss, **self.state()}

    def _write(self, step: int, losses: dict[str, Any] | None = None) -> None:
        stage = self.order.stages[-1]
        documents = self.order.documents_of(len(self.order.stages) - 1)
        line = {
            "step": step,
            "tokens": self.trainer.recipe.batch.clock.tokens_at(step),
            **(losses or {}),
            "stage": stage.number,
            "share": stage.share,
            "num_documents": len(self.order.tokens.train_documents) if documents is None else len(documents),
            "num_documents_seen": self.seen.after(step),
        }
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
