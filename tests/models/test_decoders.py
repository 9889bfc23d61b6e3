"""The decoder families beside Llama: counts against instantiated models, first weights, mistakes in one line."""

import re
from pathlib import Path

import pytest
import torch
import transformers
from models.tiny_families import TINY, recipe_of
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, PreTrainedModel

from lmeff.errors import InputError
from lmeff.models.build import build_model
from lmeff.models.families import FAMILIES, Family, Mamba2, family_of, family_of_config
from lmeff.recipe.sections.model import FAMILIES as SECTIONS

DECODERS = ["gpt2", "gptj", "mamba2"]
SHAPES = [
    *((family, TINY[family]) for family in DECODERS),
    ("gpt2", TINY["gpt2"] | {"tie_word_embeddings": False, "n_inner": 56, "max_position_embeddings": 200}),
    ("gpt2", {"size": "20m", "num_hidden_layers": 1}),
    ("gptj", TINY["gptj"] | {"tie_word_embeddings": True, "n_inner": 56, "rotary_dim": 8}),
    ("gptj", {"size": "97m", "num_hidden_layers": 1, "tie_word_embeddings": False}),
    (
        "mamba2",
        TINY["mamba2"] | {"tie_word_embeddings": True, "n_groups": 2, "expand": 3, "conv_kernel": 3, "chunk_size": 16},
    ),
    ("mamba2", {"size": "20m", "num_hidden_layers": 1}),
]


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


@pytest.mark.parametrize(
    "biased", [{"attention_bias": True}, {"mlp_bias": True}, {"attention_bias": True, "mlp_bias": True}]
)
def test_biases_of_a_llama_from_elsewhere_are_counted(biased: dict) -> None:
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 301,
    }
    config = AutoConfig.for_model("llama", **shape, num_key_value_heads=2, head_dim=6, **biased)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    counted = family_of_config(config).of_config(config).count_parameters()
    assert counted.total == sum(one.numel() for one in model.parameters())


def test_a_family_with_a_formula_of_its_own_says_which() -> None:
    for family in FAMILIES.values():
        names = ("flops_per_token", "forward_flops_per_token")
        is_own = any(getattr(family, name) is not getattr(Family, name) for name in names)
        assert (family.forward_formula != Family.forward_formula) == is_own, family.name


@pytest.mark.parametrize("family", DECODERS)
def test_first_weights_follow_shape_and_seed_alone(tmp_path: Path, family: str) -> None:
    torch.manual_seed(123)
    first = build_model(recipe_of(tmp_path, family, TINY[family], "seed=1")).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(123)
    torch.testing.assert_close(torch.rand(1), drawn, msg="building a model moved the global random state")
    second = build_model(recipe_of(tmp_path, family, TINY[family], "seed=1")).state_dict()
    other = build_model(recipe_of(tmp_path, family, TINY[family], "seed=2")).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    constant = r"(norm\w*|ln_\w|\.D|A_log)(\.weight)?$|bias$"
    drawn_names = [name for name in first if not re.search(constant, name) or name.endswith("dt_bias")]
    assert len(drawn_names) >= 8
    assert not any(torch.equal(first[name], other[name]) for name in drawn_names)


@pytest.mark.parametrize("family", DECODERS)
def test_every_named_size_can_be_built(tmp_path: Path, family: str) -> None:
    for size in SECTIONS[family].sizes:
        assert family_of(recipe_of(tmp_path, family, {"size": size})).count_parameters().total > 0


@pytest.mark.parametrize(
    ("family", "size", "vocab_size", "millions"),
    [("gpt2", "97m", 16_000, 97.5), ("gpt2", "705m", 16_000, 704.9), ("gptj", "97m", 16_000, 97.3)],
)
def test_published_counts(tmp_path: Path, family: str, size: str, vocab_size: int, millions: float) -> None:
    """BabyLlama's counts, with positions for twice its sequences of 128 tokens."""
    words = (f"tokenizer.vocab_size={vocab_size}", "model.max_position_embeddings=256")
    recipe = recipe_of(tmp_path, family, {"size": size}, *words)
    assert family_of(recipe).count_parameters().total / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("size", ["20m", "60m", "180m"])
@pytest.mark.parametrize("family", DECODERS)
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
        ("gptj", {"rotary_dim": 5}, "model.rotary_dim=5: 5 is odd; rotary positions turn dimensions in pairs"),
        ("gptj", {"rotary_dim": 18}, "model.rotary_dim=18: a head has 16 dimensions"),
        ("gptj", {"hidden_size": 30}, "model.hidden_size=30: 30 in 2 heads leaves 15 dimensions, an odd number"),
        ("gptj", {"size": "97m", "rotary_dim": 66}, "a head has 64 dimensions"),
        ("mamba2", {"head_dim": 24}, "model.head_dim=24: expand * hidden_size (2 * 32) is not a multiple of 24"),
        (
            "mamba2",
            {"num_heads": 3},
            "model.num_heads=3: expand * hidden_size (2 * 32) leaves 4 heads of head_dim 16, not 3",
        ),
        ("mamba2", {"n_groups": 3}, "model.n_groups=3: 3 does not divide the 4 heads"),
        ("mamba2", {"num_attention_heads": 4}, "model.num_attention_heads=4: unknown key; another family has it"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, family: str, values: dict, said: str) -> None:
    tiny = {} if "size" in values else TINY[family]
    assert said in mistake(tmp_path, family, tiny | values)


@pytest.mark.parametrize("family", DECODERS)
def test_kernels_of_liger_are_refused_where_there_are_none(tmp_path: Path, family: str) -> None:
    said = mistake(tmp_path, family, TINY[family], "training.use_liger_kernel=true")
    assert said.endswith(f"there are no kernels of Liger for the family '{family}'; leave it out")


def saved_numbers(model: PreTrainedModel, rows: int, length: int) -> int:
    """Bytes that a forward pass keeps for the backward one, beside the parameters."""
    kept = {one.untyped_storage().data_ptr(): 0 for one in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.ones(rows, length, dtype=torch.long), use_cache=False)
    return sum(kept.values())


@pytest.mark.parametrize("length", [64, 128])
@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("gpt2", {"hidden_size": 128, "num_attention_heads": 4}),
        ("gptj", {"hidden_size": 128, "num_attention_heads": 8, "n_inner": 256}),
        ("mamba2", {"hidden_size": 128, "head_dim": 32, "state_size": 64}),
        ("mamba2", {"hidden_size": 128, "head_dim": 64, "state_size": 128}),
    ],
)
def test_activations_are_those_that_torch_keeps(tmp_path: Path, family: str, values: dict, length: int) -> None:
    """Of the layers: a model of three less one of one layer."""
    measured, estimated = [], []
    for layers in (3, 1):
        recipe = recipe_of(tmp_path, family, values | {"num_hidden_layers": layers})
        measured.append(saved_numbers(build_model(recipe).train(), 2, length))
        estimated.append(family_of(recipe).activation_bytes(2 * length, 4, length))
    assert estimated[0] - estimated[1] == pytest.approx(measured[0] - measured[1], rel=0.08)


@pytest.mark.parametrize(("family", "values"), SHAPES)
def test_flops_are_those_that_torch_counts(tmp_path: Path, family: str, values: dict) -> None:
    """torch counts the products of a forward pass. Of Mamba-2 also those that add up the states of the chunks, and a
    convolution beyond the end of the text."""
    recipe = recipe_of(tmp_path, family, values)
    ours, model, length = family_of(recipe), build_model(recipe).eval(), 128
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(2, length, dtype=torch.long), use_cache=False)
    counted = counter.get_total_flops() / 2
    if isinstance(ours, Mamba2):
        states = (length // ours.chunk_size + 1) ** 2 * ours.num_heads * ours.head_dim * ours.state_size
        channels = ours.expand * ours.hidden_size + 2 * ours.n_groups * ours.state_size
        beyond = channels * ours.conv_kernel * (ours.conv_kernel - 1)
        counted -= 2 * ours.num_hidden_layers * (states + beyond)
    assert ours.flops_per_token(length) * length == 3 * counted


def test_half_of_what_looks_back_is_counted_where_half_is_needed(tmp_path: Path) -> None:
    for family in DECODERS:
        ours = family_of(recipe_of(tmp_path, family, TINY[family]))
        half = ours.flops_per_token(128) - ours.flops_per_token(128, causal=True)
        # Half of the products with the 128 tokens of a sequence or the 64 of a chunk; three passes, two layers.
        products = {"mamba2": 4 * 64 * (16 + 8)}.get(family, 128 * (32 + 32))
        assert half == products * 3 * 2
