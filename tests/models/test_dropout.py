"""Dropout that depends on seed, step, row and place alone: the same rows in batches of any size, for every family."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from models.tiny_families import TINY, recipe_of
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lmeff.models.build import build_model
from lmeff.models.dropout import DropoutPlace, _attention, use_stateless_dropout

DROPOUTS = {
    "llama": ["attention_dropout"],
    "gpt2": ["attn_pdrop", "resid_pdrop", "embd_pdrop"],
    "gptj": ["attn_pdrop", "resid_pdrop", "embd_pdrop"],
    "bert": ["hidden_dropout_prob", "attention_probs_dropout_prob"],
    "modernbert": ["embedding_dropout", "attention_dropout", "mlp_dropout"],
    "xlnet": ["dropout"],
}
"""The fields of every family that has dropout."""
IDS = torch.randint(3, 300, (8, 16), generator=torch.Generator().manual_seed(0))


def trained_model(folder: Path, family: str, *fields: str) -> tuple[torch.nn.Module, DropoutPlace]:
    model = build_model(recipe_of(folder, family, TINY[family] | dict.fromkeys(fields, 0.1))).train()
    return model, use_stateless_dropout(model, seed=5)


def outputs(model: torch.nn.Module, place: DropoutPlace, step: int, rows_at_once: int) -> torch.Tensor:
    parts = []
    for first in range(0, len(IDS), rows_at_once):
        place.step, place.slots = step, range(first, first + rows_at_once)
        parts.append(model(IDS[first : first + rows_at_once]).logits)
    return torch.cat(parts)


@pytest.mark.parametrize("family", DROPOUTS)
def test_rows_do_not_depend_on_the_batch_they_are_in(tmp_path: Path, family: str) -> None:
    model, place = trained_model(tmp_path, family, *DROPOUTS[family])
    one_batch = outputs(model, place, 3, 8)
    torch.manual_seed(1)  # no mask is drawn from the state of the process
    for rows_at_once in (1, 2, 8):
        torch.testing.assert_close(outputs(model, place, 3, rows_at_once), one_batch, rtol=1e-5, atol=1e-6)
    # Other rows of the global batch, and other steps, have other masks.
    place.slots = range(8, 16)
    assert not torch.allclose(model(IDS).logits, one_batch, atol=1e-4)
    assert not torch.allclose(outputs(model, place, 4, 8), one_batch, atol=1e-4)


@pytest.mark.parametrize(("family", "field"), [(family, field) for family in DROPOUTS for field in DROPOUTS[family]])
def test_every_field_drops_something(tmp_path: Path, family: str, field: str) -> None:
    """In float64, which rounds to a millionth of what the least of them changes, or less."""
    changes = []
    for fields in ((), (field,)):
        model, place = trained_model(tmp_path, family, *fields)
        dropped = outputs(model.double(), place, 3, 8)
        changes.append((dropped - outputs(model.eval(), place, 3, 8)).abs().max().item())
    assert changes[0] < 1e-12
    assert changes[1] > 1e-6


@pytest.mark.parametrize("family", sorted(DROPOUTS.keys() - {"xlnet"}))  # which cannot compute its layers again
def test_layers_that_are_computed_again_drop_the_same(tmp_path: Path, family: str) -> None:
    """Gradients with activation checkpointing are those without."""
    gradients = []
    for is_computed_again in (False, True):
        model, place = trained_model(tmp_path, family, *DROPOUTS[family])
        if is_computed_again:
            model.activation_checkpointing_enable({"use_reentrant": False})
        outputs(model, place, 3, 8).square().sum().backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-5)


def test_a_module_keeps_its_share_and_draws_anew_at_every_call() -> None:
    class Twice(torch.nn.Module):
        config = SimpleNamespace(model_type="unknown")

        def __init__(self) -> None:
            super().__init__()
            self.drop = torch.nn.Dropout(0.25)

        def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.drop(features), self.drop(features)

    model = Twice()
    place = use_stateless_dropout(model, seed=0)
    place.slots = range(4)
    ones = torch.ones(4, 5_000)
    first, second = model(ones)
    assert set(first.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    # Of 20,000 numbers: within four standard deviations.
    assert first.eq(0).float().mean().item() == pytest.approx(0.25, abs=0.013)
    assert first.ne(second).float().mean().item() == pytest.approx(2 * 0.25 * 0.75, abs=0.015)
    assert all(map(torch.equal, model(ones), (first, second)))
    assert len({tuple(row.tolist()) for row in first}) == 4
    assert torch.equal(model.eval()(ones)[0], ones)
    with pytest.raises(ValueError, match="zip"):
        model.train()(torch.ones(5, 3))


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
