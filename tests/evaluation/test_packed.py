"""Packed linear layers: the same parameters, the same results but for the last bits, and the model itself left as it was."""

import pytest
import torch
from small_models import CONFIGS
from transformers import AutoModelForCausalLM

from lmeff.evaluation.packed import pack, packed


def logits(model, dtype=torch.float32) -> torch.Tensor:
    tokens = torch.randint(0, 600, (3, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.to(dtype)(tokens, use_cache=False).logits.float()


def layers(model) -> list[torch.nn.Module]:
    return [one for one in model.modules() if type(one).__name__ in ("Linear", "Conv1D")]


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_those_of_the_model(kind):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
    for parameter in model.parameters():  # biases begin as zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    before = logits(model)
    faster = packed(model)
    assert layers(faster)
    assert all("forward" in vars(one) for one in layers(faster))
    assert torch.allclose(logits(faster), before, rtol=0, atol=1e-5 * before.abs().max().item())
    assert torch.equal(logits(model), before)
    assert not any("forward" in vars(one) for one in layers(model))
    assert {one.data_ptr() for one in faster.parameters()} == {one.data_ptr() for one in model.parameters()}


def test_bfloat16_is_packed_where_the_processor_has_it():
    model = AutoModelForCausalLM.from_config(CONFIGS["llama, tied"]).to(torch.bfloat16).eval()
    faster = packed(model)
    has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert (faster is not model) == has_it
    assert torch.allclose(logits(faster, torch.bfloat16), logits(model, torch.bfloat16), rtol=0.02, atol=0.02)


def test_what_onednn_does_not_compute_stays_as_it_is(monkeypatch):
    model = AutoModelForCausalLM.from_config(CONFIGS["llama, tied"])
    assert packed(model.double()) is model
    assert packed(model.to("meta", torch.float32)) is model
    model = AutoModelForCausalLM.from_config(CONFIGS["llama, tied"])
    assert packed(model) is not model
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert packed(model) is model


def test_a_layer_of_another_kind_is_left_alone():
    class Scaled(torch.nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(features)

    layer, features = Scaled(4, 3), torch.ones(2, 4)
    before = layer(features)
    pack(layer)
    assert torch.equal(layer(features), before)
