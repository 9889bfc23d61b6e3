"""`anchors.until: converged`: training goes on until the held-out loss stands still."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.engines.resumable import CONVERGENCE
from lmeff.training.trainer import LmeffTrainer

_TRAINED_PER_LOOK = 100
"""Looking at the held-out loss takes at most one hundredth of the training computation."""


@dataclass
class ConvergenceCallback(RunCallback):
    priority: ClassVar[Priority] = Priority.CONVERGE
    name: ClassVar[str] = CONVERGENCE

    trainer: LmeffTrainer
    log: Path
    """JSON lines: step, tokens, dev_loss (by the name of its kind), best, looks_without_improvement."""
    best: float | None = None
    """The lowest held-out loss so far, if it was lower than the one before by more than `anchors.threshold`."""
    looks_without_improvement: int = 0
    """Looks since then."""

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "looks_without_improvement": self.looks_without_improvement}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.best, self.looks_without_improvement = saved["best"], saved["looks_without_improvement"]

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
        # Collective; every process is given the same loss, and takes the same decision.
        with trainer.timer_stopped(), trainer.weights_to_keep():
            held_out = trainer.held_out_loss()
        loss = held_out.loss
        if self.best is None or loss < self.best - wanted.threshold:
            self.best, self.looks_without_improvement = loss, 0
        else:
            self.looks_without_improvement += 1
        if state.is_world_process_zero:
            with open(self.log, "a", encoding="utf-8") as file:
                line = {"step": state.global_step, "tokens": tokens, held_out.name: loss, **self.state()}
                file.write(json.dumps(line) + "\n")
        if self.looks_without_improvement >= wanted.patience:
            control.should_training_stop = True
            # The run ends here; a checkpoint of this step would be gone on from.
            control.should_save = False
