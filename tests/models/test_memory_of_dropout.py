"""What dropping attention weights keeps for the backward pass, beside what torch keeps."""

from pathlib import Path

import pytest
from models.kept_tensors import LENGTH, kept_bytes
from models.tiny_families import recipe_of

from lmeff.models.build import build_model
from lmeff.models.dropout import use_stateless_dropout
from lmeff.models.families import family_of
from lmeff.plan.memory import device_memory

RATES = {
    "llama": "attention_dropout",
    "gpt2": "attn_pdrop",
    "gptj": "attn_pdrop",
    "bert": "attention_probs_dropout_prob",
    "modernbert": "attention_dropout",
    "xlnet": "dropout",
}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 8}
INNER = {"gpt2": {}, "gptj": {}, "xlnet": {"d_inner": 32}}


def recipe_for(folder: Path, family: str, rate: float):
    return recipe_of(folder, family, SHAPE | INNER.get(family, {"intermediate_size": 32}) | {RATES[family]: rate})


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("family", RATES)
def test_dropped_attention_weights_are_counted(tmp_path: Path, family: str, half: bool) -> None:
    found = []
    for rate in (0.0, 0.1):
        recipe = recipe_for(tmp_path, family, rate)
        model = build_model(recipe).train()
        use_stateless_dropout(model, 0).slots = range(2)
        found.append(kept_bytes(model, half))
    shape = family_of(recipe)
    estimated = shape.attention_dropout_bytes(recipe, 2 * LENGTH, 2 if half else 4, LENGTH)
    assert estimated == pytest.approx(found[1] - found[0], rel=0.1)
    assert not shape.attention_dropout_bytes(recipe_for(tmp_path, family, 0.0), 2 * LENGTH, 4, LENGTH)
    plain, dropped = (
        device_memory(recipe_for(tmp_path, family, rate), shape, 2, 1, half=half)["ddp"].activations
        for rate in (0.0, 0.1)
    )
    assert dropped - plain == estimated


def test_weights_of_both_streams_of_an_xlnet_are_kept_twice_in_16_bits(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "xlnet", 0.0)
    estimated = family_of(recipe).activation_bytes(2 * LENGTH, 2, LENGTH)
    assert estimated == pytest.approx(kept_bytes(build_model(recipe).train(), half=True), rel=0.05)


def test_an_xlnet_has_logits_for_what_it_may_predict(tmp_path: Path) -> None:
    """A sixth of 128 tokens and one span of 5: 26 in each of 3 rows, for 302 entries; in three float32 arrays of the
    loss's backward pass."""
    for half in (False, True):
        for family, rows in (("xlnet", 3 * 26), ("bert", 3 * 128)):
            recipe = recipe_for(tmp_path, family, 0.0)
            memory = device_memory(recipe, family_of(recipe), 3, 1, half=half)["ddp"]
            assert memory.logits == rows * recipe.model_vocab_size * 12
