"""Attention dropout whose mask depends on nothing but seed, step, place in the global batch and layer.

The stock mask is drawn from the random state of a process, so it changes with the number of processes.
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
from lmeff.models.families import family_of_config
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
def _keep_mask(place: DropoutPlace, layer: int, shape: torch.Size, rate: float, device: torch.device) -> torch.Tensor:
    """(batch, heads, queries, keys) bool: False where a weight is dropped."""
    kept = torch.empty(shape, dtype=torch.bool, device=device)
    for row, slot in enumerate(place.slots):
        generator = torch.Generator(device).manual_seed(stateless_seed(place.seed, place.step, slot, layer))
        kept[row] = torch.rand(shape[1:], generator=generator, device=device) >= rate
    return kept


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
    kept = _keep_mask(module.dropout_place, module.layer_idx, weights.shape, dropout, weights.device)
    output = (weights * kept / (1 - dropout)).to(value.dtype) @ value
    return output.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def use_stateless_dropout(model: PreTrainedModel, seed: int) -> DropoutPlace:
    """Makes every attention layer draw its masks by seed and place. Returns the place, which is to be set before each pass."""
    place = DropoutPlace(seed)
    family = family_of_config(model.config)
    if family is not None and family.attention_dropout(model.config):
        set_attention(model.config, _NAME)
        for module in family.attention_modules(model):
            module.dropout_place = place  # type: ignore[assignment]  # modules take any attribute
    return place
