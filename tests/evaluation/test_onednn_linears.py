"""Linear layers computed by oneDNN: the same results but for the last bits, all else about a model left as it was, and whatever
is no plain linear layer left alone."""

import pytest
import torch
from evaluation.small_models import CONFIGS
from torch.nn.utils import prune
from transformers import AutoModelForCausalLM

from lmeff.evaluation.scorer.trees import onednn_linears
from lmeff.evaluation.scorer.trees.onednn_linears import OneDnnLinears
from lmeff.evaluation.scorer.trees.prefix_tree import lay_out
from lmeff.evaluation.scorer.trees.tree_scorer import TreeScorer

TEXTS = torch.randint(0, 600, (3, 17), generator=torch.Generator().manual_seed(0))


def made(kind: str = "llama, tied") -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
    for parameter in model.parameters():  # biases begin as zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TEXTS, use_cache=False).logits


def layers(model) -> list[torch.nn.Module]:
    return [one for one in model.modules() if type(one).__name__ in ("Linear", "Conv1D")]


def scores(model) -> list[float]:
    requests = [(text[:-1], text[1:]) for text in TEXTS.tolist()]
    return [value for value, _ in TreeScorer(model).score(lay_out(requests, 8))]


def expected(model) -> list[float]:
    found = logits(model).float().log_softmax(-1)[:, :-1]
    return found.gather(-1, TEXTS[:, 1:, None]).sum(dim=(1, 2)).tolist()


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_those_of_the_model(kind, monkeypatch):
    computed, onednn_linear = [], onednn_linears.onednn_linear

    def counted(*given):
        forward = onednn_linear(*given)
        return lambda hidden: computed.append(hidden) or forward(hidden)

    monkeypatch.setattr(onednn_linears, "onednn_linear", counted)
    model = made(kind)
    before, linears = logits(model), OneDnnLinears(model.modules())
    assert {*linears.forwards} == {*layers(model)}
    with linears.at_work():
        found = logits(model)
    assert len(computed) == len(layers(model))
    assert torch.allclose(found, before, rtol=0, atol=1e-5 * before.abs().max().item())
    assert torch.equal(logits(model), before)
    assert not any("forward" in vars(one) for one in layers(model))


def test_products_in_bfloat16_where_the_processor_has_them():
    model = made().to(torch.bfloat16)
    before, linears = logits(model), OneDnnLinears(model.modules())
    assert bool(linears.forwards) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    with linears.at_work():
        assert torch.allclose(logits(model), before, rtol=0.02, atol=0.02 * before.abs().max().item())


def test_a_model_is_as_it_was_after_an_error():
    model = made()
    with pytest.raises(ZeroDivisionError), OneDnnLinears(model.modules()).at_work():
        raise ZeroDivisionError
    assert not any("forward" in vars(one) for one in layers(model))


def hooked(model) -> None:
    model.base_model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: 0 * output)


def with_another_forward(model) -> None:
    layer = model.base_model.layers[0].mlp.down_proj
    layer.forward = lambda features: 0 * torch.nn.functional.linear(features, layer.weight)


def pruned(model) -> None:
    prune.random_unstructured(model.base_model.layers[0].mlp.down_proj, "weight", amount=0.9)


def of_another_class(model) -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(features)

    model.base_model.layers[0].mlp.down_proj.__class__ = Doubled


@pytest.mark.parametrize("change", [hooked, with_another_forward, pruned, of_another_class])
def test_what_was_done_to_a_model_counts(change):
    model = made()
    before = expected(model)
    change(model)
    assert scores(model) == pytest.approx(expected(model), rel=1e-5)
    assert scores(model) != pytest.approx(before, rel=1e-3)


def test_scores_are_float32s_under_autocast():
    model = made()
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(model)
    assert found == scores(model)


def none_here(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)


def rounded(monkeypatch) -> None:
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")


def no_memory(monkeypatch) -> None:
    monkeypatch.setattr(onednn_linears, "available_bytes", lambda: 1000)


@pytest.mark.parametrize("state", [none_here, rounded, no_memory])
def test_where_it_cannot_be_done_the_layers_compute_themselves(state, monkeypatch):
    model = made()
    assert OneDnnLinears(model.modules()).forwards
    state(monkeypatch)
    assert not OneDnnLinears(model.modules()).forwards


def test_other_types_and_devices_are_left_alone():
    assert not OneDnnLinears(made().double().modules()).forwards
    assert not OneDnnLinears(made().to("meta").modules()).forwards


def test_a_weight_of_another_class_may_mean_other_numbers():
    class Quantized(torch.nn.Parameter):
        pass

    layer = torch.nn.Linear(4, 3)
    assert OneDnnLinears([layer]).forwards
    layer.weight = Quantized(layer.weight.detach())
    assert not OneDnnLinears([layer]).forwards
