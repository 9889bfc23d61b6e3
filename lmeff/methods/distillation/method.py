"""Distillation as a learning method: its objective, what is done before training, its column in the log, and its costs."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import torch
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

from lmeff.methods.distillation.asked import AskedTeachers
from lmeff.methods.distillation.cache import KeptTeachers, TeacherCache
from lmeff.methods.distillation.costs import asked_flops, distillation_costs, kept_flops
from lmeff.methods.distillation.objective import COLUMN, DistilledObjective, Knowledge
from lmeff.methods.distillation.sources import sources_of
from lmeff.methods.distillation.teacher_pass import TeacherPass
from lmeff.objectives import Objective
from lmeff.plan.beside import MethodCosts
from lmeff.recipe.schema import Recipe
from lmeff.tokens import Tokens, positions_per_epoch
from lmeff.training.arguments import half_precision
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.engines.engine import run_on_rank_zero
from lmeff.training.method import Method
from lmeff.training.trainer import LmeffTrainer

_MOST_SHARES = 1000
"""Steps after which shares are summed up even if nobody asks."""


class Distillation(Method):
    def __init__(self, recipe: Recipe, tokens: Tokens) -> None:
        """Raises InputError for teachers that do not fit the run, or its tokenizer."""
        self._recipe, self._tokens, self._sources = recipe, tokens, sources_of(recipe)
        for source in self._sources:
            source.check_fits(recipe)
            source.check_tokenizer(tokens.tokenizer_folder)
        self._teachers = AskedTeachers(recipe, self._sources)
        self._knowledge: Knowledge = self._teachers
        self._caches: dict[int, TeacherCache] = {}
        self._verified: set[int] = set()
        """Lengths whose caches this process knows to be whole; a run of several parts asks once."""
        if kind := recipe.distillation.cache.kind:
            precision = str(half_precision(recipe) or "float32")
            self._caches = {
                length: TeacherCache.of(recipe, tokens, self._sources, length, precision)
                for _, length in recipe.batch.length_stages()
            }
            self._knowledge = KeptTeachers(self._caches, recipe.batch.sequence_length, kind)

    def wrap_objective(self, inner: Objective) -> Objective:
        return DistilledObjective(inner, self._recipe, self._knowledge, [source.sha256 for source in self._sources])

    def wrap_tried_objective(self, inner: Objective) -> Objective:
        return inner if self._caches else self.wrap_objective(inner)

    def before_training(self, trainer: Trainer, check_stop: Callable[[], None]) -> None:
        assert isinstance(trainer, LmeffTrainer)
        arguments = trainer.args
        rank, world_size = arguments.process_index, arguments.world_size
        for length, cache in self._caches.items():
            if length in self._verified:
                continue
            work = TeacherPass(self._recipe, self._tokens, self._teachers, cache, arguments.device, check_stop)
            if run_on_rank_zero(cache.is_whole):
                launch = run_on_rank_zero(lambda: uuid4().hex)
                work.verify(rank, world_size, launch)
                trainer.accelerator.wait_for_everyone()  # no longer than it takes to look at a few names
                if rank == 0:
                    shutil.rmtree(work.verified(launch), ignore_errors=True)
            else:
                work.fill(rank, world_size)
            self._verified.add(length)
        if self._caches:
            self._teachers.forget()
        else:
            self._teachers.models(arguments.device)

    def callbacks(self, trainer: Trainer) -> Sequence[RunCallback]:
        assert isinstance(trainer, LmeffTrainer)
        return [TeacherColumn(trainer)]

    @property
    def _num_positions(self) -> int:
        """Of all whole sequences of the text."""
        length = self._recipe.batch.sequence_length
        return positions_per_epoch(self._tokens, self._recipe.batch) // length * length

    def provenance(self) -> Mapping[str, Any]:
        return {"teachers": [{"name": source.name, "sha256": source.sha256} for source in self._sources]}

    def costs(self) -> MethodCosts:
        return distillation_costs(self._recipe, self._sources, self._num_positions)

    def flops(self, step: int) -> Mapping[str, float]:
        batch = self._recipe.batch
        if not self._caches:
            return {"flops_teachers": asked_flops(self._sources, batch, [(0, step)])}
        return {"flops_teachers": kept_flops(self._sources, batch, self._num_positions)}


class TriedTeachers(Method):
    """The teachers in steps that are only tried: what memory and time they take, whatever they read."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._teachers = recipe, AskedTeachers(recipe, sources_of(recipe))

    def wrap_objective(self, inner: Objective) -> Objective:
        return DistilledObjective(inner, self._recipe, self._teachers, [])

    def wrap_tried_objective(self, inner: Objective) -> Objective:
        return self.wrap_objective(inner)


class TeacherColumn(RunCallback):
    """The mean of the teachers' term since the last record of the log.

    Shares of steps stay on the device and are summed up when they are asked for: looking at a number on a GPU makes the CPU
    wait for it.
    """

    priority = Priority.SUM_UP
    name = "teacher_loss"

    def __init__(self, trainer: LmeffTrainer) -> None:
        self._trainer, self._sum, self._num_steps = trainer, 0.0, 0
        self._shares: list[torch.Tensor] = []
        """This process's, of the steps that are not in the sum yet."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._shares.append(self._trainer.share_of_step(COLUMN))
        if control.should_save or len(self._shares) == _MOST_SHARES:
            self._sum_up()

    def _sum_up(self) -> None:
        """Collective."""
        if self._shares:
            for value in self._trainer.over_processes(torch.stack(self._shares)):
                self._sum += value
            self._num_steps += len(self._shares)
            self._shares = []

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if "loss" not in logs:
            return
        self._sum_up()
        if self._num_steps:
            logs["teacher_loss"] = self._sum / self._num_steps
            self._sum, self._num_steps = 0.0, 0

    def state(self) -> dict[str, Any]:
        """A sum that is not finite, as of steps whose update was left out, is none: JSON has no such numbers."""
        return {"sum": self._sum if math.isfinite(self._sum) else None, "num_steps": self._num_steps}

    def load_state(self, saved: dict[str, Any]) -> None:
        self._sum, self._num_steps = math.nan if saved["sum"] is None else saved["sum"], saved["num_steps"]
