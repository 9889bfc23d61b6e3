"""Whether a recipe can learn a few sequences by heart. What cannot do that has a fault that no amount of text will mend."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch

from lmeff.errors import RunFailed
from lmeff.formats.losses import TRAINING_UNITS
from lmeff.probes.probe_run import Look, ProbeTrainer, prepared_tokens, probe_trainer
from lmeff.recipe.schema import Recipe

NEAR_ZERO = 0.05
"""Nats, per token that is predicted, at which a text counts as known by heart."""
_WARMUP_STEPS = 20


@dataclass(frozen=True)
class Overfit:
    num_sequences: int
    num_steps: int
    first_loss: float
    last_loss: float


def probe_overfit(recipe: Recipe, num_sequences: int = 4, max_steps: int = 400) -> Overfit:
    """Trains on the run's first sequences again and again, at the recipe's rate. Raises RunFailed saying what is broken
    when the loss does not come near zero."""
    with probe_trainer(recipe, prepared_tokens(recipe), max_steps, num_sequences) as trainer:
        return overfit(trainer)


def overfit(trainer: ProbeTrainer) -> Overfit:
    """The same with a trainer whose steps all read the same sequences. What such a model never uses need not learn."""
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    rate = trainer.recipe.optimizer.learning_rate
    losses: list[float] = []

    def look(seen: Look) -> bool:
        # Loss scaling of float16 overflows now and then, and leaves the step out.
        if not (math.isfinite(seen.loss) and (math.isfinite(seen.grad_norm) or trainer.args.fp16)):
            raise RunFailed(
                f"probe overfit: the loss is {seen.loss} and the gradient's norm {seen.grad_norm} at step {seen.step + 1};"
                f" lower optimizer.learning_rate ({rate:g}), or look at the data and the precision"
            )
        losses.append(seen.loss)
        if seen.step == 0:
            if trainer.leaves_parameters_unused:
                for name in _unused(trainer.model):
                    del before[name]
            _check_gradients(trainer.model, before)
        return seen.loss >= NEAR_ZERO

    trainer.run(lambda step: rate * min(1.0, (step + 1) / _WARMUP_STEPS), look)
    if losses[-1] < NEAR_ZERO:
        return Overfit(trainer.order.clock.sequences_per_step, len(losses), losses[0], losses[-1])
    raise RunFailed(_what_is_broken(trainer, before, losses))


def _unused(model: torch.nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


def _check_gradients(model: torch.nn.Module, names: Collection[str]) -> None:
    dead = [
        name
        for name, parameter in model.named_parameters()
        if name in names and parameter.requires_grad and (parameter.grad is None or not torch.any(parameter.grad))
    ]
    if dead:
        shown = ", ".join(dead[:3]) + (f" and {len(dead) - 3} more" if len(dead) > 3 else "")
        raise RunFailed(f"probe overfit: no gradient reaches {shown}")


def _what_is_broken(trainer: ProbeTrainer, before: dict[str, torch.Tensor], losses: list[float]) -> str:
    weights = dict(trainer.model.named_parameters())
    still = [
        name for name, first in before.items() if torch.equal(weights[name].detach(), first.to(weights[name].device))
    ]
    first, last, best = losses[0], losses[-1], min(losses)
    unit = TRAINING_UNITS[trainer.recipe.objective_name]
    said = f"probe overfit: {first:.3f} {unit} at first, {last:.3f} after {len(losses)} steps, {best:.3f} at best: "
    rate = trainer.recipe.optimizer.learning_rate
    if still:
        return said + f"{still[0]} never changes ({len(still)} of {len(before)} weights do not)"
    if last > 1.2 * best + 0.1:
        return said + f"the loss rises again; lower optimizer.learning_rate ({rate:g})"
    if best > 0.8 * first:
        return (
            said
            + f"it hardly falls; raise optimizer.learning_rate ({rate:g}; see `lmeff probe lr`), or the labels are wrong"
        )
    return (
        said
        + f"it falls, too slowly; more --steps, a higher optimizer.learning_rate ({rate:g}) or less dropout would do it"
    )
