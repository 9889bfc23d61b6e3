"""The order of a run's callbacks, and what a checkpoint keeps of them."""

import importlib
import random
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler

from lmeff.training import callbacks as package
from lmeff.training.callbacks.callback import Priority, RunCallback, in_order


def callback(priority: Priority, name: str, called: list[str]) -> RunCallback:
    class Noted(RunCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            called.append(self.name)

    noted = Noted()
    noted.priority, noted.name = priority, name
    return noted


def test_any_order_of_registration_gives_the_same_order_of_calls():
    called: list[str] = []
    names = [(priority, f"{priority.name} {letter}") for priority in Priority for letter in "ab"]
    expected = [name for _, name in names]
    for seed in range(5):
        random.Random(seed).shuffle(names)
        called.clear()
        ordered = in_order(callback(*one, called) for one in names)
        CallbackHandler(ordered, None, None, None, None).on_step_end(None, TrainerState(), TrainerControl())
        assert called == expected


def subclasses(cls: type) -> list[type]:
    """Those without subclasses of their own kind: what several share has no place among them."""
    below = [one for one in cls.__subclasses__() if one.__module__.startswith("lmeff.")]
    return [leaf for one in below for leaf in subclasses(one)] or [cls]


def test_every_callback_of_a_run_has_a_place_and_a_key_of_its_own():
    for path in Path(package.__file__).parent.glob("*.py"):
        importlib.import_module(f"lmeff.training.callbacks.{path.stem}")
    ours = [cls for cls in subclasses(RunCallback) if cls.__module__.startswith("lmeff.training.callbacks")]
    assert len(ours) == 8
    assert {cls.priority for cls in ours} == set(Priority) - {Priority.LEARN, Priority.SUM_UP}
    assert len({cls.name for cls in ours}) == len(ours)


def test_two_callbacks_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two callbacks of a run have the same name"):
        in_order([callback(Priority.LOG, "x", []), callback(Priority.STATE, "x", [])])
