"""The optimizers a recipe can name."""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.models.families import Family, family_of_config
from lmeff.recipe.sections.optimizer import Optimizer as OptimizerSection

Groups = list[dict[str, Any]]
_COUNTERS = ("k", "weight_sum", "lr_max", "train_mode", "scheduled_lr")
"""What schedule-free optimizers count for a whole group."""


class Division(Protocol):
    """How an engine divides matrices over processes."""

    def whole(self, partition: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]: ...

    def own_part(self, partition: torch.Tensor, whole: list[torch.Tensor]) -> torch.Tensor: ...


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024, `torch.optim.Muon`) for some groups and AdamW for the others, as one optimizer.

    Muon's updates are scaled to the size of AdamW's (Liu et al. 2025), so that one learning rate and one weight decay serve
    both. Under ZeRO a process has a flat part of many matrices: the momentum stays divided, and the matrices are whole for as
    long as their update is computed, so that every engine makes the same update.
    """

    def __init__(self, muon: Groups, adamw: Groups, lr: float, **adamw_options: Any) -> None:
        super().__init__([*muon, *adamw], {"lr": lr})
        self._muon, self._adamw = (
            Muon(muon, lr=lr, adjust_lr_fn="match_rms_adamw"),
            AdamW(adamw, lr=lr, **adamw_options),
        )
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]
        self.division: Division | None = None
        """Set under ZeRO."""

    def step(self, closure: Callable[[], float] | None = None) -> None:
        # Groups and state are ours: a schedule sets the rates in them, DeepSpeed steps them one by one, and whoever loads a
        # state replaces them.
        for group in self.param_groups:
            if self.division is not None and "ns_steps" in group:
                self._step_divided(group, self.division)
                continue
            part = self._muon if "ns_steps" in group else self._adamw
            part.param_groups, part.state = [group], self.state
            part.step(closure)

    @torch.no_grad()
    def _step_divided(self, group: dict[str, Any], division: Division) -> None:
        for partition in group["params"]:
            if partition.grad is None:
                continue
            state = self.state[partition]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(partition)
            momentum = state["momentum_buffer"]
            momentum.lerp_(partition.grad, 1 - group["momentum"])
            direction = partition.grad.lerp(momentum, group["momentum"])
            updates = [_muon_update(matrix, group) for matrix in division.whole(partition, direction)]
            partition.mul_(1 - group["lr"] * group["weight_decay"]).add_(division.own_part(partition, updates))


def _muon_update(direction: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """What `torch.optim.Muon` adds to a matrix whose momentum is `direction`."""
    update = nn.Parameter(torch.zeros_like(direction))
    update.grad = direction
    options = {key: group[key] for key in ("lr", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")}
    Muon([update], **options, weight_decay=0.0, momentum=0.0, nesterov=False).step()
    return update.detach()


def build_optimizer(
    section: OptimizerSection, model: PreTrainedModel, decayed: Iterable[str], *, fused: bool, zero: bool
) -> Optimizer:
    """`decayed` names the parameters that weight decay applies to. Raises InputError for what does not run under ZeRO."""
    if zero and section.name == "schedule_free_adamw":
        raise InputError(
            f"optimizer.name: '{section.name}' does not run under DeepSpeed ZeRO, which keeps the weights to average apart from"
            " the model's; use DDP"
        )
    parameters, decayed = dict(model.named_parameters()), set(decayed)

    def groups(names: Iterable[str]) -> Groups:
        chosen = [name for name in names if parameters[name].requires_grad]
        split = ([name for name in chosen if (name in decayed) is decays] for decays in (True, False))
        return [
            {"params": [parameters[name] for name in part], "weight_decay": section.weight_decay * decays}
            for part, decays in zip(split, (True, False), strict=True)
            if part
        ]

    options: dict[str, Any] = {"betas": tuple(section.betas), "eps": section.epsilon}
    match section.name:
        case "muon":
            matrices = _family(model).muon_names(model)
            rest = [name for name in parameters if name not in matrices]
            return MuonWithAdamW(groups(matrices), groups(rest), section.learning_rate, fused=fused, **options)
        case "schedule_free_adamw":
            from schedulefree import AdamWScheduleFree

            return AdamWScheduleFree(groups(parameters), lr=section.learning_rate, **options)
        case _:
            return AdamW(groups(parameters), lr=section.learning_rate, fused=fused, **options)


def decayed_names(model: PreTrainedModel) -> list[str]:
    """The parameters that weight decay applies to."""
    return _family(model).decayed_names(model)


def _family(model: PreTrainedModel) -> type[Family]:
    family = family_of_config(model.config)
    assert family is not None, "only models that a recipe can name are trained"
    return family


def counters(optimizer: Optimizer) -> list[dict[str, float]]:
    """What the optimizer counts for its groups, as JSON takes it; empty dictionaries for most."""
    return [{key: group[key] for key in _COUNTERS if key in group} for group in optimizer.param_groups]


def set_counters(optimizer: Optimizer, saved: list[dict[str, float]]) -> None:
    """Goes on counting where `counters` was called."""
    for group, values in zip(optimizer.param_groups, saved, strict=False):
        group.update(values)


@contextmanager
def weights_to_keep(optimizer: Optimizer, model: nn.Module):
    """Inside, the model has the weights that are its result: for schedule-free optimizers the average, else what it trains.

    Afterwards it has the very bits it had before, so that looking at a model does not change its future.
    """
    if not hasattr(optimizer, "eval"):
        yield
        return
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.eval()
    yield
    optimizer.train()
    with torch.no_grad():
        for parameter, kept in zip(model.parameters(), before, strict=True):
            parameter.copy_(kept)
