"""`batch.micro: auto` on a GPU, with numbers in place of its memory: what does not fit is a size that is not taken."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models.tiny_families import TINY
from models.tiny_recipe import recipe

from lmeff.errors import InputError
from lmeff.objectives import Objective, WrappedObjective
from lmeff.probes.speed import measure_speed
from lmeff.training.engines import micro
from lmeff.training.method import Method


class Teacher(WrappedObjective):
    """Computes beside the model, and has room for some rows."""

    def __init__(self, inner: Objective, num_rows: int) -> None:
        super().__init__(inner)
        self.num_rows = num_rows

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if len(inputs["input_ids"]) > self.num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().prepare(inputs)


class Taught(Method):
    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def wrap_tried_objective(self, inner: Objective) -> Objective:
        return Teacher(inner, self.num_rows)


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is never full."""
    monkeypatch.setattr(micro, "uses_cpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 0)
    if not torch.cuda.is_available():  # torch and accelerate ask a real one for more
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1))


def test_a_size_that_a_method_has_no_room_for_is_not_taken() -> None:
    settings = recipe(family="llama", **TINY["llama"])
    assert micro.probe_micro_batch(settings) == 8
    assert micro.probe_micro_batch(settings, [Taught(8)]) == 8
    assert micro.probe_micro_batch(settings, [Taught(5)]) == 4
    assert micro.probe_micro_batch(settings, world_size=4) == 2
    with pytest.raises(InputError, match=r"^batch\.micro: not even one sequence fits this GPU"):
        micro.probe_micro_batch(settings, [Taught(0)])


@pytest.mark.medium
def test_a_measured_step_is_that_of_one_of_several_devices() -> None:
    """Each takes its share of the eight sequences, and what is tried is what a device would take of that."""
    speed = measure_speed(recipe(family="llama", **TINY["llama"]), world_size=4, max_seconds=0.01)
    assert speed.micro_batch == 2
