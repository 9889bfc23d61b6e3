"""Stateless attention dropout beside the stock attention, which it replaces."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lmeff.models.dropout import DropoutPlace, _attention


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_without_drops_it_is_the_stock_attention(is_causal: bool, mask: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8, generator=generator) for heads in (4, 2, 2))
    allowed = torch.rand(2, 1, 5, 5, generator=generator) < 0.6
    allowed |= torch.eye(5, dtype=torch.bool)
    masks = {"none": None, "bool": allowed, "float": torch.where(allowed, 0.0, -torch.inf)}
    module = SimpleNamespace(
        num_key_value_groups=2, is_causal=is_causal, layer_idx=0, dropout_place=DropoutPlace(0, 0, range(2))
    )
    expected, _ = sdpa_attention_forward(module, query, key, value, masks[mask], scaling=0.3)
    # A rate at which no weight is ever dropped.
    output, _ = _attention(module, query, key, value, masks[mask], dropout=1e-30, scaling=0.3)
    torch.testing.assert_close(output, expected)
