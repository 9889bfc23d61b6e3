"""`anchors.until: converged`: training goes on until the held-out loss stands still."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.training.trainer import LmeffTrainer

_TRAINED_PER_LOOK = 100
"""Looking at the held-out loss takes at most one hundredth of the training computation."""


@dataclass
class ConvergenceCallback(TrainerCallback):
    trainer: LmeffTrainer
    log: Path
    """JSON lines: step, tokens, dev_loss, best, looks_without_improvement."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            forget_after(self.log, state.global_step)

    @property
    def every_steps(self) -> int:
        """Steps between two looks. A token that is only read costs a third of one that is trained on."""
        recipe = self.trainer.recipe
        tokens = recipe.anchors.look_every or -(-recipe.evaluation.dev_tokens * _TRAINED_PER_LOOK // 3)
        return max(1, recipe.batch.clock.step_of(tokens))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        trainer, wanted = self.trainer, self.trainer.recipe.anchors
        tokens = trainer.recipe.batch.clock.tokens_at(state.global_step)
        if tokens < max(wanted.patient_after, wanted.tokens[-1]) or state.global_step % self.every_steps:
            return
        with trainer.timer_stopped(), trainer.weights_to_keep():
            loss = trainer.held_out_loss().loss
        seen = trainer.convergence
        if seen["best"] is None or loss < seen["best"] - wanted.threshold:
            seen.update(best=loss, looks_without_improvement=0)
        else:
            seen["looks_without_improvement"] += 1
        if state.is_world_process_zero:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, "tokens": tokens, "dev_loss": loss, **seen}) + "\n")
        if seen["looks_without_improvement"] >= wanted.patience:
            control.should_training_stop = True
            # The run ends here; a checkpoint of this step would be gone on from.
            control.should_save = False
