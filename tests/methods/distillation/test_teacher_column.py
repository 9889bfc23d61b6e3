"""The column of the log that has the teachers' term: a mean over steps, that keeps no process waiting for a number."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl

from lmeff.methods.distillation.method import TeacherColumn
from lmeff.methods.distillation.objective import COLUMN


class TwoProcesses:
    """What the column asks of a trainer, on the first of two processes: the other one has twice its share."""

    def __init__(self) -> None:
        self.step, self.asked = 0, list[int]()

    def share_of_step(self, name: str) -> torch.Tensor:
        assert name == COLUMN
        return torch.tensor(float(self.step))

    def over_processes(self, shares: torch.Tensor) -> list[float]:
        self.asked.append(len(shares))
        means: list[float] = (1.5 * shares).tolist()
        return means


def test_processes_meet_only_for_a_log_and_a_checkpoint() -> None:
    trainer: Any = TwoProcesses()
    column = TeacherColumn(trainer)
    anything: Any = SimpleNamespace()

    def steps(*numbers: int, save: bool = False) -> None:
        for number in numbers:
            trainer.step = number
            control = TrainerControl(should_save=save and number == numbers[-1])
            column.on_step_end(anything, anything, control)

    def log(**of_trainer: float) -> dict[str, float]:
        column.on_log(anything, anything, TrainerControl(), logs=of_trainer)
        return of_trainer

    steps(1, 2, 3)
    assert trainer.asked == []
    assert log(train_runtime=3.0) == {"train_runtime": 3.0}, "what the Trainer says at its end is no step"
    assert log(loss=9.0) == {"loss": 9.0, "teacher_loss": 1.5 * 2}
    steps(4, 6, save=True)
    assert trainer.asked == [3, 2]
    saved = column.state()
    assert saved == {"sum": 15.0, "num_steps": 2}
    steps(8)
    again = TeacherColumn(trainer)
    again.load_state(saved)
    trainer.step = 8
    again.on_step_end(anything, anything, TrainerControl())
    logs: dict[str, float] = {"loss": 9.0}
    again.on_log(anything, anything, TrainerControl(), logs=logs)
    assert logs["teacher_loss"] == log(loss=9.0)["teacher_loss"] == pytest.approx(1.5 * 6)
    assert log(loss=9.0) == {"loss": 9.0}, "without a step there is nothing to say"


def test_shares_are_summed_up_now_and_then() -> None:
    trainer: Any = TwoProcesses()
    column = TeacherColumn(trainer)
    anything: Any = SimpleNamespace()
    for step in range(2500):
        trainer.step = step
        column.on_step_end(anything, anything, TrainerControl())
    assert trainer.asked == [1000, 1000]
    logs: dict[str, float] = {"loss": 9.0}
    column.on_log(anything, anything, TrainerControl(), logs=logs)
    assert logs["teacher_loss"] == 1.5 * 2499 / 2


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_step_without_a_finite_term_is_no_reason_to_end(number: float) -> None:
    """Its update is left out (`optimizer.nonfinite: skip`), and a checkpoint is JSON, which has no such numbers. Its record has
    no mean, and the next one its own."""
    trainer: Any = TwoProcesses()
    column, again = TeacherColumn(trainer), TeacherColumn(trainer)
    anything: Any = SimpleNamespace()
    for trainer.step in (1, number, 2):
        column.on_step_end(anything, anything, TrainerControl(should_save=trainer.step == 2))
    saved = json.loads(json.dumps(column.state(), allow_nan=False))
    again.load_state(saved)
    for one in (column, again):
        logs: dict[str, float] = {"loss": 9.0}
        one.on_log(anything, anything, TrainerControl(), logs=logs)
        assert not math.isfinite(logs["teacher_loss"])
        trainer.step = 4
        one.on_step_end(anything, anything, TrainerControl())
        one.on_log(anything, anything, TrainerControl(), logs=logs)
        assert logs["teacher_loss"] == 6
