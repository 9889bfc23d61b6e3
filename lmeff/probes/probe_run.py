"""A recipe trained for a few steps in a temporary folder, by the trainer of a run and as a run would train it: loss, dropout,
precision, clipping and optimizer are those of the run. What a probe changes are the rates, and for some what is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lmeff.clock import Clock
from lmeff.corpora import prepare_text
from lmeff.formats.plan import PlanPart
from lmeff.methods import check_methods, methods_of
from lmeff.models.build import build_model
from lmeff.objectives import Objective, Pieces, WrappedObjective
from lmeff.plan.batch import split_batch
from lmeff.recipe.schema import Recipe
from lmeff.tokens import DataOrder, Excerpt, Tokens, WrappedOrder, prepare_tokenizer, prepare_tokens
from lmeff.training.arguments import training_arguments
from lmeff.training.data.sequences import length_at
from lmeff.training.engines.engine import forget_engine, prepare_process
from lmeff.training.engines.micro import probe_micro_batch
from lmeff.training.method import Method
from lmeff.training.trainer import LmeffTrainer


def prepared_tokens(recipe: Recipe) -> Tokens:
    """The recipe's tokens, prepared if they are not yet. Raises InputError for what a method needs and is not there."""
    check_methods(recipe)
    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    return prepare_tokens(corpus, prepare_tokenizer(corpus, recipe.tokenizer.vocab_size, recipe.tokenizer.sample))


def probe_folder(recipe: Recipe) -> Path:
    """`OUTPUTS/NAME/probes`."""
    return Path(recipe.paths.outputs) / recipe.name / "probes"


@dataclass(frozen=True)
class Look:
    """What a probe sees of a step, after the backward pass and before the optimizer's step."""

    step: int
    """Counted from 0."""
    loss: float
    """Nats per token."""
    grad_norm: float
    """Before clipping."""


class FirstSequences(WrappedOrder):
    """The first sequences of the first step, in every step."""

    def __init__(self, inner: DataOrder, num_sequences: int, sequence_length: int) -> None:
        super().__init__(inner)
        self.clock = Clock(num_sequences * sequence_length, sequence_length)

    def sequences(self, step: int) -> np.ndarray:
        return self.inner.sequences(0)[: self.clock.sequences_per_step]

    def excerpt(self, step: int) -> Excerpt | None:
        return self.inner.excerpt(0)

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        yield begin, end

    @property
    def fingerprint(self) -> str:
        return f"{self.inner.fingerprint} first {self.clock.sequences_per_step}"


class FirstDraws(WrappedObjective):
    """Masks and orders of prediction are those of the first step, in every step: they are to be learned by heart, too."""

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        return self.inner.inputs(replace(pieces, step=0))


@dataclass
class RepeatedSequences(Method):
    """Reads the same few sequences in every step, and asks the same of them."""

    num_sequences: int
    sequence_length: int

    def wrap_objective(self, inner: Objective) -> Objective:
        return FirstDraws(inner)

    def wrap_order(self, inner: DataOrder) -> DataOrder:
        return FirstSequences(inner, self.num_sequences, self.sequence_length)


@dataclass
class _Steps(TrainerCallback):
    """Sets the rate of every step, and lets the probe look at it."""

    trainer: "ProbeTrainer"
    rate_of: Callable[[int], float]
    look: Callable[[Look], bool]
    _goes_on: bool = True

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = self.rate_of(state.global_step)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step = state.global_step
        loss = self.trainer.step_losses()
        self._goes_on = self.look(Look(step, loss.get("nats", loss["loss"]), float(self.trainer.grad_norm)))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop = control.should_training_stop or not self._goes_on


class ProbeTrainer(LmeffTrainer):
    """A run's trainer that writes nothing down and is looked at in every step."""

    def run(self, rate_of: Callable[[int], float], look: Callable[[Look], bool]) -> None:
        """Trains with the rates that `rate_of` gives for steps (from 0), until `look` returns False or all steps are done."""
        self.add_callback(_Steps(self, rate_of, look))
        self.train()


@contextmanager
def probe_trainer(
    recipe: Recipe, tokens: Tokens, num_steps: int, num_sequences: int | None = None
) -> Iterator[ProbeTrainer]:
    """A trainer with the recipe's first weights, on this machine's device, for the run's first steps; with `num_sequences`
    for steps that all read that many first sequences, or all of the batch where it has no more."""
    prepare_process(recipe.is_deterministic)
    recipe = quiet(recipe)
    methods = list(methods_of(recipe, tokens))
    micro_batch, accumulation = split_batch(recipe, 1, probe_micro_batch(recipe, methods))
    if num_sequences is not None:
        batch = recipe.batch
        num_sequences = min(num_sequences, batch.clock.sequences_per_step)
        micro_batch = gcd(num_sequences, micro_batch)
        accumulation = num_sequences // micro_batch
        methods.append(RepeatedSequences(num_sequences, batch.sequence_length))
        # The text is to be learned by heart, so it does not change its form on the way.
        first_length = {"0": length_at(0, batch.length_stages())}
        recipe = recipe.model_copy(update={"batch": batch.model_copy(update={"sequence_lengths": first_length})})
    with made_trainer(ProbeTrainer, recipe, tokens, num_steps, (micro_batch, accumulation), methods) as trainer:
        yield trainer


@contextmanager
def made_trainer(
    kind: type[ProbeTrainer],
    recipe: Recipe,
    tokens: Tokens,
    num_steps: int,
    split: tuple[int, int],
    methods: list[Method],
) -> Iterator[Any]:
    """A trainer of some kind, in a temporary folder. `split` is (sequences at once, accumulation steps)."""
    part = PlanPart(
        name=None,
        first_step=0,
        last_step=num_steps,
        anchors=[],
        schedule="constant",
        warmup_steps=0,
        decay_steps=0,
        branch_steps=[],
    )
    with TemporaryDirectory(prefix="lmeff-probe-") as folder:
        arguments = training_arguments(recipe, part, Path(folder), *split)
        trainer = kind(build_model(recipe), arguments, recipe, tokens, methods)
        trainer.remove_callback(ProgressCallback)
        trainer.remove_callback(PrinterCallback)
        try:
            for method in methods:
                method.before_training(trainer, lambda: None)
            yield trainer
        finally:
            forget_engine(trainer)


def quiet(recipe: Recipe) -> Recipe:
    """The recipe without what a run writes down, reports or leaves out: a probe wants to see a loss that is not finite."""
    training = recipe.training | {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no"}
    checkpoints = recipe.checkpoints.model_copy(update={"every_steps": None, "every_minutes": None})
    optimizer = recipe.optimizer.model_copy(update={"nonfinite": "stop"})
    return recipe.model_copy(update={"training": training, "checkpoints": checkpoints, "optimizer": optimizer})
