"""Sizes, counts and first weights."""

import pytest
import torch
from models.tiny_recipe import recipe

from lmeff.errors import InputError
from lmeff.models.build import build_model
from lmeff.models.families import family_of
from lmeff.recipe.sections.model import LlamaSection

SHAPES = [
    {"size": "20m"},
    {"size": "20m", "tie_word_embeddings": True, "num_hidden_layers": 2},
    {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
]


@pytest.mark.parametrize("model", SHAPES)
def test_counts_are_those_of_the_built_model(model: dict) -> None:
    built = build_model(recipe(**model))
    parameters = family_of(recipe(**model)).count_parameters()
    embeddings = {built.get_input_embeddings().weight, built.get_output_embeddings().weight}
    assert parameters.total == sum(weight.numel() for weight in built.parameters())
    assert parameters.embedding == sum(weight.numel() for weight in embeddings)
    assert parameters.total == parameters.embedding + parameters.non_embedding


@pytest.mark.parametrize(
    ("size", "vocab_size", "total", "non_embedding"),
    [
        ("20m", 50_257, 47.4, 8.85),
        ("60m", 8_192, 50.3, 41.96),
        ("180m", 50_257, 232.9, 155.75),
        ("1m", 2_000, 1.56, 1.05),
        ("10m", 2_000, 15.8, 14.46),
        ("16m", 16_000, 16.6, 8.39),
        ("58m", 16_000, 58.3, 41.96),
        ("95m", 16_000, 95.4, 70.80),
        ("97m", 16_000, 97.2, 84.95),
        ("360m", 16_000, 360.0, 327.21),
    ],
)
def test_published_counts(size: str, vocab_size: int, total: float, non_embedding: float) -> None:
    """The counts of the published collection, of TinyHelen and of BabyLlama, in millions."""
    parameters = family_of(recipe(vocab_size, size=size)).count_parameters()
    assert parameters.total / 1e6 == pytest.approx(total, abs=0.06)
    assert parameters.non_embedding / 1e6 == pytest.approx(non_embedding, abs=0.006)


def test_weights_follow_the_seed_alone() -> None:
    torch.manual_seed(123)
    first = build_model(recipe(seed=1, **SHAPES[2])).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(123)
    torch.testing.assert_close(torch.rand(1), drawn, msg="building a model moved the global random state")
    second = build_model(recipe(seed=1, **SHAPES[2])).state_dict()
    other = build_model(recipe(seed=2, **SHAPES[2])).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_config_says_what_the_recipe_says() -> None:
    config = build_model(recipe(**SHAPES[2], rope_theta=500_000, max_position_embeddings=256)).config
    assert config.max_position_embeddings == 256
    assert config.rope_parameters["rope_theta"] == 500_000
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
    assert build_model(recipe(**SHAPES[2])).config.max_position_embeddings == 128


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"size": "200m"}, "did you mean '20m'"),
        ({"size": "20m", "hidden_size": 54}, "model.head_dim: 9 is odd"),
        ({"hidden_size": 64}, "intermediate_size, num_hidden_layers, num_attention_heads"),
        ({"size": "20m", "hidden_size": 100}, "not a multiple of num_attention_heads"),
        ({"size": "20m", "num_key_value_heads": 4}, "not a multiple of 4"),
        ({"size": "20m", "max_position_embeddings": 64}, "below batch.sequence_length"),
    ],
)
def test_impossible_models_are_refused(model: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        family_of(recipe(**model))


def test_a_size_may_say_more_than_the_shape() -> None:
    tied = recipe(size="97m")
    assert family_of(tied).tie_word_embeddings
    assert not family_of(recipe(size="97m", tie_word_embeddings=False)).tie_word_embeddings
    assert not family_of(recipe(size="95m")).tie_word_embeddings
    assert type(tied.model).model_validate(tied.model.model_dump()) == tied.model
    config = family_of(recipe(size="1m")).config_values(recipe(size="1m"))
    assert (config["rope_parameters"]["rope_theta"], config["rms_norm_eps"]) == (5e5, 1e-5)
    said = recipe(size="1m", rope_theta=1e4)
    assert family_of(said).config_values(said)["rope_parameters"]["rope_theta"] == 1e4


def test_all_named_sizes_resolve() -> None:
    for size in LlamaSection.sizes:
        assert family_of(recipe(size=size)).hidden_size == LlamaSection.sizes[size]["hidden_size"]


def test_zero_3_does_not_divide_first_weights() -> None:
    """Under its configuration `from_config` and `from_pretrained` would build a model of empty parameters."""
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, is_deepspeed_zero3_enabled

    whole = build_model(recipe(**SHAPES[2])).state_dict()
    config = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_batch_size": 1})
    assert is_deepspeed_zero3_enabled()
    built = build_model(recipe(**SHAPES[2])).state_dict()
    del config  # transformers only has a weak reference to it
    assert not is_deepspeed_zero3_enabled()
    assert all(torch.equal(whole[name], built[name]) for name in whole)
