"""The decoder families beside Llama: counts against instantiated models, first weights, mistakes in one line."""

from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig

from lmeff.errors import InputError
from lmeff.models.build import build_model
from lmeff.models.families import family_of, family_of_config
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import FAMILIES as SECTIONS

RECIPE = """
name: decoder
corpus: {name: synthetic}
tokenizer: {vocab_size: 301}
model: {family: FAMILY}
batch: {tokens: 1024, sequence_length: 128, micro: 4}
anchors: {tokens: [10240]}
schedule: {warmup: 1 steps}
"""
TINY = {
    "gpt2": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
SHAPES = [
    *TINY.items(),
    ("gpt2", TINY["gpt2"] | {"tie_word_embeddings": False, "n_inner": 56, "max_position_embeddings": 200}),
    ("gpt2", {"size": "20m", "num_hidden_layers": 1}),
]


def recipe_of(folder: Path, family: str, values: dict, *words: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("FAMILY", family))
    return read_recipe(path, [*(f"model.{key}={value}" for key, value in values.items()), *words]).recipe


def mistake(folder: Path, family: str, values: dict, *words: str) -> str:
    with pytest.raises(InputError) as error:
        family_of(recipe_of(folder, family, values, *words))
    (line,) = str(error.value).split("\n")
    return line


@pytest.mark.parametrize(("family", "values"), SHAPES)
def test_counts_are_those_of_the_stock_model(tmp_path: Path, family: str, values: dict) -> None:
    recipe = recipe_of(tmp_path, family, values)
    ours = family_of(recipe)
    config = AutoConfig.for_model(ours.model_type, **ours.config_values(recipe), vocab_size=301)
    with torch.device("meta"):
        model = getattr(transformers, ours.model_class)(config)
    counted = ours.count_parameters()
    embeddings = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
    assert counted.total == sum(one.numel() for one in model.parameters())
    assert counted.embedding == sum(one.numel() for one in embeddings)
    assert counted.total == counted.embedding + counted.non_embedding
    assert family_of_config(config).of_config(config) == ours


@pytest.mark.parametrize(("family", "values"), TINY.items())
def test_first_weights_follow_shape_and_seed_alone(tmp_path: Path, family: str, values: dict) -> None:
    torch.manual_seed(123)
    first = build_model(recipe_of(tmp_path, family, values, "seed=1")).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(123)
    torch.testing.assert_close(torch.rand(1), drawn, msg="building a model moved the global random state")
    second = build_model(recipe_of(tmp_path, family, values, "seed=1")).state_dict()
    other = build_model(recipe_of(tmp_path, family, values, "seed=2")).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    name = next(name for name in first if name.endswith("0.mlp.c_fc.weight"))
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("family", TINY)
def test_every_named_size_can_be_built(tmp_path: Path, family: str) -> None:
    for size in SECTIONS[family].sizes:
        assert family_of(recipe_of(tmp_path, family, {"size": size})).count_parameters().total > 0


@pytest.mark.parametrize(
    ("family", "size", "vocab_size", "millions"),
    [("gpt2", "97m", 16_000, 97.5), ("gpt2", "705m", 16_000, 704.9)],
)
def test_published_counts(tmp_path: Path, family: str, size: str, vocab_size: int, millions: float) -> None:
    """BabyLlama's counts, with positions for twice its sequences of 128 tokens."""
    words = (f"tokenizer.vocab_size={vocab_size}", "model.max_position_embeddings=256")
    recipe = recipe_of(tmp_path, family, {"size": size}, *words)
    assert family_of(recipe).count_parameters().total / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("size", ["20m", "60m", "180m"])
@pytest.mark.parametrize("family", ["gpt2"])
def test_a_size_has_nearly_as_many_parameters_as_the_llama_of_its_name(tmp_path: Path, family: str, size: str) -> None:
    ours = family_of(recipe_of(tmp_path, family, {"size": size})).count_parameters()
    llama = family_of(recipe_of(tmp_path, "llama", {"size": size})).count_parameters()
    assert ours.non_embedding == pytest.approx(llama.non_embedding, rel=0.02)


@pytest.mark.parametrize(
    ("family", "values", "said"),
    [
        (
            "gpt2",
            {"hidden_size": 33},
            "model.hidden_size=33: 33 is not a multiple of num_attention_heads (2); change one",
        ),
        (
            "gpt2",
            {"size": "20m", "hidden_size": 100},
            "model.hidden_size=100: 100 is not a multiple of num_attention_heads (6)",
        ),
        (
            "gpt2",
            {"max_position_embeddings": 64},
            "model.max_position_embeddings=64: 64 is less than batch.sequence_length (128)",
        ),
        ("gpt2", {"size": "200m"}, "did you mean '20m'"),
        ("gpt2", {"rope_theta": 3}, "model.rope_theta=3: unknown key; another family has it"),
        ("gpt2", {"activation_function": "gelu_old"}, "'gelu_old'; did you mean 'gelu'?"),
        ("gpt2", {"attn_pdrop": 1}, "model.attn_pdrop=1: must be below 1"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, family: str, values: dict, said: str) -> None:
    tiny = {} if "size" in values else TINY[family]
    assert said in mistake(tmp_path, family, tiny | values)
