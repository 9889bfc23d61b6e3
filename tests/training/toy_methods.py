"""A learning method for tests: it changes the loss of some positions, the order, and has a callback with a state.

As a script it runs a recipe like `lmeff.run`, with two of them over each other:
`python -m tests.training.toy_methods RECIPE ...`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.objectives import Objective, WrappedObjective
from lmeff.tokens import DataOrder, WrappedOrder
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.method import Method
from lmeff.training.trainer import LmeffTrainer


class Weighted(WrappedObjective):
    """Positions whose label is a multiple of `number` weigh twice. Logs go on to show the plain cross-entropy."""

    def __init__(self, inner: Objective, number: int) -> None:
        super().__init__(inner)
        self.number = number

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        labels, plain = targets["labels"], self.inner.losses(logits, targets, num_labeled)
        chosen = targets | {"labels": torch.where(labels % self.number == 0, labels, -100)}
        extra = self.inner.losses(logits, chosen, num_labeled)["loss"]
        nats = plain.get("nats", plain["loss"])
        return plain | {"loss": plain["loss"] + extra, "nats": nats, f"extra_{self.number}": extra}


class Backwards(WrappedOrder):
    """Every step from its last sequence to its first, moved on by `number`: two of them are not what there was before."""

    def __init__(self, inner: DataOrder, number: int) -> None:
        super().__init__(inner)
        self.number = number

    def sequences(self, step: int) -> np.ndarray:
        return np.roll(self.inner.sequences(step)[::-1], self.number)

    @property
    def fingerprint(self) -> str:
        return f"{self.inner.fingerprint} backwards {self.number}"


class Sum(RunCallback):
    """Adds up a column of the objective over all steps, and writes the sum at the end."""

    priority = Priority.LEARN

    def __init__(self, trainer: LmeffTrainer, number: int) -> None:
        self.trainer, self.name, self.column = trainer, f"sum {number}", f"extra_{number}"
        self.first, self.total, self.num_steps = 0.0, 0.0, 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        share = self.trainer.step_losses()[self.column]
        if state.global_step == 1:
            self.first = share
        self.total += share
        self.num_steps += 1
        if state.global_step == int(os.environ.get("KILL_AT_STEP", 0)):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            path = Path(args.output_dir, f"{self.name}.json")
            path.write_text(json.dumps(self.state()))

    def state(self) -> dict[str, Any]:
        return {"first": self.first, "total": self.total, "num_steps": self.num_steps}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.first, self.total, self.num_steps = saved["first"], saved["total"], saved["num_steps"]


class Toy(Method):
    def __init__(self, number: int) -> None:
        self.number = number

    def wrap_objective(self, inner: Objective) -> Objective:
        return Weighted(inner, self.number)

    def wrap_order(self, inner: DataOrder) -> DataOrder:
        return Backwards(inner, self.number)

    def callbacks(self, trainer: LmeffTrainer) -> list[RunCallback]:
        return [Sum(trainer, self.number)]


if __name__ == "__main__":
    from lmeff import run

    # No recipe names these.
    run.methods_of = lambda recipe, tokens: (Toy(3), Toy(5))
    run.leave(run.main(sys.argv[1:]))
