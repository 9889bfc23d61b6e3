"""`anchors.until: converged`: training goes on until the held-out loss stands still."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.plan.compute import steps_between_looks
from lmeff.training.callbacks.callback import Priority
from lmeff.training.callbacks.plateau import PlateauCallback
from lmeff.training.engines.resumable import CONVERGENCE
from lmeff.training.trainer import LmeffTrainer


@dataclass
class ConvergenceCallback(PlateauCallback):
    priority: ClassVar[Priority] = Priority.CONVERGE
    name: ClassVar[str] = CONVERGENCE

    trainer: LmeffTrainer
    log: Path
    """JSON lines: step, tokens, dev_loss (by the name of its kind), best, looks_without_improvement."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            forget_after(self.log, state.global_step)

    @property
    def every_steps(self) -> int:
        """Steps between two looks."""
        return steps_between_looks(self.trainer.recipe, self.trainer.recipe.anchors.look_every)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        trainer, wanted = self.trainer, self.trainer.recipe.anchors
        tokens = trainer.recipe.batch.clock.tokens_at(state.global_step)
        if tokens < max(wanted.patient_after, wanted.tokens[-1]) or state.global_step % self.every_steps:
            return
        # Collective; every process is given the same loss, and takes the same decision.
        with trainer.timer_stopped(), trainer.weights_to_keep():
            held_out = trainer.held_out_loss()
        self.compare(held_out.loss, wanted.threshold)
        if state.is_world_process_zero:
            with open(self.log, "a", encoding="utf-8") as file:
                line = {"step": state.global_step, "tokens": tokens, held_out.name: held_out.loss, **self.state()}
                file.write(json.dumps(line) + "\n")
        if self.looks_without_improvement >= wanted.patience:
            control.should_training_stop = True
            # The run ends here; a checkpoint of this step would be gone on from.
            control.should_save = False
