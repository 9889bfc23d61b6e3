"""`state.json`, written on the first process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.runs.state import RunState
from lmeff.training.callbacks.callback import Priority, RunCallback


@dataclass
class StateCallback(RunCallback):
    """Keeps `state.json` current, of the run and of its part: at the start, at every log and after every anchor."""

    priority: ClassVar[Priority] = Priority.STATE
    name: ClassVar[str] = "state"

    run_states: Sequence[RunState]

    def _update(self, state: TrainerState) -> None:
        for run_state in self.run_states if state.is_world_process_zero else ():
            run_state.step = state.global_step
            run_state.write("running")

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._update(state)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self._update(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if any(anchor.step == state.global_step for anchor in self.run_states[0].anchors):
            self._update(state)
