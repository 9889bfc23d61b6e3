"""What a run's callbacks have in common: their order, and what a checkpoint keeps of them."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, ClassVar

from transformers import TrainerCallback


class Priority(IntEnum):
    """Whose turn it is, at the end of a step and everywhere else: lower ones first, in whatever order they were added."""

    KEEP_ANCHOR = 10
    """The model is kept and scored as the step left it; after its last anchor the run is to end."""
    LEARN = 20
    """Learning methods look at the step and may change what comes; what they decide is in the step's checkpoint."""
    CONVERGE = 30
    """The run is to end, without a checkpoint, when it has converged."""
    AGREE = 40
    """All processes agree on a checkpoint and on an end, after everything that may ask for them. What the Trainer took from a
    checkpoint is set right before anything is reported."""
    SUM_UP = 45
    """What methods add to the log is summed up over processes, since it is known now whether a checkpoint keeps it."""
    LOG_SAMPLES = 50
    SHOW_PROGRESS = 60
    LOG = 70
    STATE = 80
    """`state.json` is never ahead of the log."""
    TRACK = 90
    """Trackers are told what the log says."""


class RunCallback(TrainerCallback):
    """A callback with a place among the others and, where it has a state, one that a checkpoint keeps."""

    priority: ClassVar[Priority]
    name: ClassVar[str]
    """Its key in the checkpoint; no two callbacks of a run have the same."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, as JSON takes it; equal on all processes. Empty: nothing."""
        return {}

    def load_state(self, saved: dict[str, Any]) -> None:
        """Goes on from a checkpoint's `state`."""
        raise NotImplementedError(f"{self.name} keeps nothing")


def in_order(callbacks: Iterable[RunCallback]) -> list[RunCallback]:
    """By priority, then by name. Raises ValueError for two of the same name."""
    ordered = sorted(callbacks, key=lambda callback: (callback.priority, callback.name))
    names = [callback.name for callback in ordered]
    if len(set(names)) < len(names):
        raise ValueError(f"two callbacks of a run have the same name: {names}")
    return ordered
