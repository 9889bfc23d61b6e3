"""Dropout whose masks depend on nothing but seed, step, place in the global batch, and where in the model they are.

Stock masks are drawn from the random state of a process, so they change with the number of processes and with the micro-batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lmeff.library_internals import set_attention
from lmeff.models.families import Family, family_of_config
from lmeff.stateless import stateless_seed

_NAME = "lmeff_stateless_dropout"


@dataclass
class DropoutPlace:
    """Where in a run the next forward pass is; set before each."""

    seed: int
    step: int = 0
    slots: Sequence[int] = field(default_factory=tuple)
    """The place in the global batch of each sequence of the pass."""


@torch.compiler.disable
def _keep_mask(
    place: DropoutPlace, key: Sequence[int | str], shape: torch.Size, row_dim: int, rate: float, device: torch.device
) -> torch.Tensor:
    """A bool tensor of `shape`, False where a number is dropped. `row_dim` is the dimension with the rows of the batch, and
    `key` says where in the model the mask is. Raises ValueError unless every row has a slot."""
    generator = torch.Generator(device)
    seeds = [stateless_seed(place.seed, place.step, slot, *key) for slot in place.slots]
    if device.type == "cpu":
        kept = torch.empty(shape, dtype=torch.bool)
        for row, seed in zip(kept.movedim(row_dim, 0), seeds, strict=True):
            row.copy_(torch.rand(row.shape, generator=generator.manual_seed(seed)) >= rate)
        return kept
    # One launch for each row, and one for all: what a GPU waits for is being told.
    numbers = torch.empty([shape[row_dim], *shape[:row_dim], *shape[row_dim + 1 :]], device=device)
    for row, seed in zip(numbers, seeds, strict=True):
        row.uniform_(generator=generator.manual_seed(seed))
    return (numbers >= rate).movedim(0, row_dim)


# ------------------------------------------------------------------ modules


class _StatelessDropout(nn.Dropout):
    """What dropout modules of a model become."""

    place: DropoutPlace
    name: str
    family: type[Family] | None
    num_calls: int
    """Calls of the present pass: some models use a module several times."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p:
            return input
        return input * self._keep_mask(input) / (1 - self.p)

    @torch.compiler.disable
    def _keep_mask(self, input: torch.Tensor) -> torch.Tensor:
        key = (self.name, self.num_calls)
        self.num_calls += 1
        row_dim = self.family.row_dimension(input.ndim) if self.family else 0
        return _keep_mask(self.place, key, input.shape, row_dim, self.p, input.device)


@torch.compiler.disable
def _count_anew(model: nn.Module, *passed: Any) -> None:
    """A hook before a model's forward pass and after it, since layers may be computed again in the backward pass."""
    for one in model.modules():
        if isinstance(one, _StatelessDropout):
            one.num_calls = 0


def _replace_modules(model: PreTrainedModel, place: DropoutPlace, family: type[Family] | None) -> None:
    dropping = {name: one for name, one in model.named_modules() if isinstance(one, nn.Dropout) and one.p}
    for name, module in dropping.items():
        # The class is exchanged rather than the module, which may be known under several names.
        module.__class__ = _StatelessDropout
        module.place, module.name, module.family, module.num_calls = place, name, family, 0  # type: ignore[assignment]
    if dropping:
        model.register_forward_pre_hook(_count_anew)
        model.register_forward_hook(_count_anew)


# ------------------------------------------------------------------ attention


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """`query`, `key`, `value` are (batch, heads, length, head_dim); the output is (batch, length, heads, head_dim)."""
    if not dropout:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is None and getattr(module, "is_causal", True):
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    elif attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32)
    kept = _keep_mask(module.dropout_place, [module.layer_idx], weights.shape, 0, dropout, weights.device)
    output = (weights * kept / (1 - dropout)).to(value.dtype) @ value
    return output.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def use_stateless_dropout(model: PreTrainedModel, seed: int) -> DropoutPlace:
    """Makes every dropout of a model draw its masks by seed and place. Returns the place, which is to be set before each pass
    in training and stay until its backward pass is done."""
    place = DropoutPlace(seed)
    family = family_of_config(model.config)
    _replace_modules(model, place, family)
    if family is not None and family.attention_dropout(model.config):
        set_attention(model.config, _NAME)
        for module in family.attention_modules(model):
            module.dropout_place = place  # type: ignore[assignment]  # modules take any attribute
    return place
