"""Estimates beside what one NVIDIA H200 took."""

from pathlib import Path

import pytest

from lmeff.models.families import family_of
from lmeff.plan.memory import device_memory
from lmeff.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
HEADS_AND_LAYERS = "model.hidden_size=512 model.num_hidden_layers=8 model.num_attention_heads=8 "
PEAKS: dict[tuple[str, str], dict[int, float]] = {
    ("base/llama_180m", "tokenizer.vocab_size=50257"): {16: 10.8, 64: 30.2, 128: 56.1, 256: 108},
    ("base/llama_60m", ""): {16: 3.6, 64: 11.1, 128: 21.0, 256: 40.9},
    ("base/llama_20m", "tokenizer.vocab_size=2000"): {8: 0.556, 16: 0.844, 32: 1.43, 64: 2.61},
    ("babyllama/gpt2_97m", ""): {8: 2.84, 32: 5.81, 64: 9.79, 128: 17.8},
    ("babyllama/gptj_97m", ""): {8: 3.0, 32: 6.28, 64: 10.7, 128: 19.6},
    ("families/bert", HEADS_AND_LAYERS + "model.intermediate_size=2048"): {8: 0.792, 16: 1.02, 32: 1.47},
    ("families/modernbert", HEADS_AND_LAYERS + "model.intermediate_size=1024"): {8: 0.725, 16: 0.954, 32: 1.41},
    ("families/xlnet", HEADS_AND_LAYERS + "model.d_inner=2048"): {8: 0.969, 16: 1.34, 32: 2.09},
    ("allocation/mamba2_10m", ""): {8: 7.37, 16: 14.3, 32: 28.4},
}
"""Gigabytes by recipe, words and micro-batch: the peak of a forward and a backward pass beside weights, gradients and AdamW's
states, by `lmeff probe memory` with torch 2.11 and transformers 5.23, in bfloat16 with float32 weights, SDPA and no compiler;
Mamba-2 without kernels."""


@pytest.mark.parametrize("case", PEAKS, ids=[name for name, _ in PEAKS])
def test_the_plan_is_within_a_twentieth_of_a_gpu(case: tuple[str, str]) -> None:
    name, words = case
    given = [*words.split(), "corpus.name=synthetic", "name=measured"]
    recipe = read_recipe(RECIPES / f"{name}.yaml", given).recipe
    for micro, peak in PEAKS[case].items():
        planned = device_memory(recipe, family_of(recipe), micro, 1, half=True)["ddp"].total / 1e9
        assert planned == pytest.approx(peak, rel=0.05), micro
