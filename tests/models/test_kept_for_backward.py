"""The activations that the plan counts beside those that torch keeps for the backward pass."""

from pathlib import Path

import pytest
import torch
from models.kept_tensors import LENGTH, kept_bytes
from models.tiny_families import recipe_of

from lmeff.models.build import build_model
from lmeff.models.families import family_of

TINY = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
MIDDLE = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6}
INNER = {"llama": 2.75, "bert": 4, "modernbert": 2, "xlnet": 2.75}
STATES = {64: {"head_dim": 32, "state_size": 16}, 192: {"head_dim": 48, "state_size": 64}}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [TINY, MIDDLE], ids=["tiny", "middle"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gptj", "mamba2", "bert", "modernbert", "xlnet"])
def test_counted_as_torch_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, shape: dict, half: bool
) -> None:
    """Of a whole pass of two rows without the loss, weights and their 16-bit copies. CUDA's autocast computes powers in float32
    and a CPU's does not, so here they are made to be."""
    width = shape["hidden_size"]
    values = dict(shape)
    if family == "mamba2":
        del values["num_attention_heads"]
        values |= STATES[width]
    elif family in INNER:
        values["d_inner" if family == "xlnet" else "intermediate_size"] = int(INNER[family] * width)
    power = torch.pow

    def power_in_float32(base: torch.Tensor | int, exponent: torch.Tensor | float) -> torch.Tensor:
        return power(base.float() if isinstance(base, torch.Tensor) else base, exponent)

    monkeypatch.setattr(torch, "pow", power_in_float32)
    recipe = recipe_of(tmp_path, family, values)
    ours, model = family_of(recipe), build_model(recipe).train()
    # What does not grow with the rows are weights in 16 bits.
    kept = kept_bytes(model, half, rows=4) - kept_bytes(model, half)
    estimated = ours.activation_bytes(2 * LENGTH, 2 if half else 4, LENGTH)
    assert estimated == pytest.approx(kept, rel=0.02)
