"""The families that look both ways: BERT, ModernBERT, XLNet."""

import pytest
import torch
from models.tiny_recipe import recipe

from lmeff.models.build import build_model
from lmeff.models.families import FAMILIES, family_of
from lmeff.recipe.sections.model import FAMILIES as SECTIONS

TINY = {
    "bert": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4},
}
SHAPES = [
    *(pytest.param({"family": family, **shape}, id=f"{family}-tiny") for family, shape in TINY.items()),
    *(
        pytest.param({"family": family, "size": size}, id=f"{family}-{size}")
        for family in TINY
        for size in SECTIONS[family].sizes
    ),
    pytest.param({"family": "bert", **TINY["bert"], "max_position_embeddings": 200}, id="bert-positions"),
]


def on_meta(settings):
    with torch.device("meta"):
        return build_model(settings)


@pytest.mark.parametrize("model", SHAPES)
def test_counts_are_those_of_the_built_model(model: dict) -> None:
    built = on_meta(recipe(**model))
    parameters = family_of(recipe(**model)).count_parameters()
    assert type(built).__name__ == FAMILIES[model["family"]].model_class
    assert parameters.total == sum(weight.numel() for weight in built.parameters())
    embeddings = {built.get_input_embeddings().weight, built.get_output_embeddings().weight}
    assert parameters.embedding == sum(weight.numel() for weight in embeddings)
    assert parameters.total == parameters.embedding + parameters.non_embedding
    assert FAMILIES[model["family"]].of_config(built.config).count_parameters() == parameters
