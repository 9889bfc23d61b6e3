"""Whether a recipe can learn a few sequences by heart. What cannot do that has a fault that no amount of text will mend."""

import math
from dataclasses import dataclass

import torch

from lmeff.errors import RunFailed
from lmeff.probes.bench import Bench, prepared_tokens
from lmeff.recipe.schema import Recipe

NEAR_ZERO = 0.05
"""Nats per token at which a text counts as known by heart."""


@dataclass(frozen=True)
class Overfit:
    num_sequences: int
    num_steps: int
    first_loss: float
    last_loss: float


def probe_overfit(recipe: Recipe, num_sequences: int = 4, max_steps: int = 400) -> Overfit:
    """Trains on the run's first sequences again and again, at the recipe's rate. Raises RunFailed saying what is broken
    when the loss does not come near zero."""
    return overfit(Bench.of(recipe, prepared_tokens(recipe)), num_sequences, max_steps)


def overfit(bench: Bench, num_sequences: int, max_steps: int) -> Overfit:
    """The same on a bench."""
    batch = next(bench.batches(1, num_sequences))
    before = {name: parameter.detach().clone() for name, parameter in bench.model.named_parameters()}
    rate, warmup = bench.recipe.optimizer.learning_rate, 20
    losses: list[float] = []
    for step in range(max_steps):
        loss, norm = bench.step(batch, rate * min(1.0, (step + 1) / warmup))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RunFailed(
                f"probe overfit: the loss is {loss} and the gradient's norm {norm} at step {step + 1}; lower"
                f" optimizer.learning_rate ({rate:g}), or look at the data and the precision"
            )
        losses.append(loss)
        if step == 0:
            _check_gradients(bench)
        if loss < NEAR_ZERO:
            return Overfit(sum(len(one.sequence_ids) for one in batch), step + 1, losses[0], loss)
    raise RunFailed(_what_is_broken(bench, before, losses))


def _check_gradients(bench: Bench) -> None:
    dead = [
        name
        for name, parameter in bench.model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not torch.any(parameter.grad))
    ]
    if dead:
        shown = ", ".join(dead[:3]) + (f" and {len(dead) - 3} more" if len(dead) > 3 else "")
        raise RunFailed(f"probe overfit: no gradient reaches {shown}")


def _what_is_broken(bench: Bench, before: dict[str, torch.Tensor], losses: list[float]) -> str:
    still = [name for name, parameter in bench.model.named_parameters() if torch.equal(parameter, before[name])]
    first, last, best = losses[0], losses[-1], min(losses)
    said = f"probe overfit: {first:.3f} nats per token at first, {last:.3f} after {len(losses)} steps, {best:.3f} at best: "
    rate = bench.recipe.optimizer.learning_rate
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
