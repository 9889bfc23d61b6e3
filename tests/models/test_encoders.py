"""The families that look both ways: BERT, ModernBERT, XLNet."""

import pytest
import torch
from models.tiny_recipe import recipe
from torch.utils.flop_counter import FlopCounterMode

from lmeff.errors import InputError
from lmeff.measures.profile.counts import forward_flops_per_token
from lmeff.models.build import build_model
from lmeff.models.config_file import complete_config, config_fault
from lmeff.models.families import FAMILIES, family_of
from lmeff.recipe.sections.model import FAMILIES as SECTIONS

TINY = {
    "bert": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4},
    "modernbert": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 3},
    "xlnet": {"hidden_size": 24, "d_inner": 40, "num_hidden_layers": 3, "num_attention_heads": 4},
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


def permuted(model, ids: torch.Tensor) -> torch.Tensor:
    """Logits of a pass as in training: XLNet's with room for a sixth of the tokens and a span of 5."""
    if model.config.model_type != "xlnet":
        return model(input_ids=ids).logits
    length = ids.shape[1]
    order = torch.ones(length, length).triu().expand(len(ids), -1, -1)
    targets = torch.eye(length)[: length // 6 + 5].expand(len(ids), -1, -1)
    return model(input_ids=ids, perm_mask=order, target_mapping=targets).logits


def counted(forward) -> int:
    with FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", TINY)
def test_flops_are_those_that_torch_counts(family: str) -> None:
    """Attention is written out, so that torch counts it; ModernBERT's window is wider than the text."""
    settings = recipe(family=family, **TINY[family])
    model, shape = build_model(settings), family_of(settings)
    model.set_attn_implementation("eager")
    ids = torch.randint(3, 1000, (2, 32))
    assert counted(lambda: permuted(model, ids)) == shape.flops_per_token(32) / 3 * ids.numel()
    assert counted(lambda: model(input_ids=ids)) == forward_flops_per_token(model, 32)[0] * ids.numel()
    assert shape.flops_per_token(32, causal=True) == shape.flops_per_token(32)


def test_a_local_layer_counts_its_window() -> None:
    """4 layers, of which the first and the fourth see all of 128 tokens, and two see 16 tokens, 16 others and their own."""
    shape = family_of(recipe(family="modernbert", **TINY["modernbert"], local_attention=32))
    everywhere = family_of(recipe(family="modernbert", **TINY["modernbert"], global_attn_every_n_layers=1))
    assert everywhere.flops_per_token(128) - shape.flops_per_token(128) == 2 * 12 * 24 * (128 - 33)


@pytest.mark.parametrize("family", TINY)
def test_activations_are_about_those_that_torch_keeps(family: str) -> None:
    """Of a whole pass but for the logits, which are counted elsewhere."""
    wide = dict.fromkeys(("hidden_size",), 64) | {
        name: 192 for name in ("intermediate_size", "d_inner") if name in TINY[family]
    }
    settings = recipe(family=family, **TINY[family] | wide | {"num_attention_heads": 4})
    model = build_model(settings).train()
    ids, kept = torch.randint(3, 1000, (4, 64)), dict[int, int]()
    weights = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            tensors.append(tensor)  # so that no other takes its place
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tensors = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        permuted(model, ids)
    assert family_of(settings).activation_bytes(ids.numel(), 4, 64) == pytest.approx(sum(kept.values()), rel=0.15)


@pytest.mark.parametrize("family", TINY)
def test_a_configuration_says_what_the_recipe_says(family: str) -> None:
    rates = {"bert": "hidden_dropout_prob", "modernbert": "mlp_dropout", "xlnet": "dropout"}
    config = build_model(recipe(family=family, **TINY[family], initializer_range=0.03, **{rates[family]: 0.2})).config
    assert (config.initializer_range, getattr(config, rates[family])) == (0.03, 0.2)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
    if family == "xlnet":
        assert (config.d_inner, config.mem_len, config.use_mems_eval, config.vocab_size) == (40, None, False, 1000)
    else:
        assert (config.cls_token_id, config.sep_token_id, config.mask_token_id, config.vocab_size) == (1, 2, 1000, 1001)
        assert config.max_position_embeddings == 128
    stock = build_model(recipe(family=family, **TINY[family])).config
    probabilities = (
        "dropout",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "attention_dropout",
        "mlp_dropout",
    )
    assert not any(getattr(stock, name, 0) for name in probabilities)


def test_modernbert_is_built_as_the_recipe_says() -> None:
    words = {"local_attention": 6, "global_attn_every_n_layers": 2, "global_rope_theta": 1e6, "local_rope_theta": 500}
    model = build_model(recipe(family="modernbert", **TINY["modernbert"], **words))
    assert model.config.layer_types == ["full_attention", "sliding_attention"] * 2
    assert {kind: one["rope_theta"] for kind, one in model.config.rope_parameters.items()} == {
        "full_attention": 1e6,
        "sliding_attention": 500,
    }


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": "bert", "size": "20m", "num_attention_heads": 5}, "hidden_size: 384 is not a multiple of"),
        ({"family": "bert", "size": "97m"}, "'97m' is not one of 10m, 20m, 60m, 180m"),
        ({"family": "bert", "size": "20m", "max_position_embeddings": 64}, "64 is below batch.sequence_length"),
        ({"family": "modernbert", "size": "20m", "hidden_size": 30}, "30 over 6 heads is 5 each, which is odd"),
        ({"family": "modernbert", "size": "20m", "local_attention": 9}, "local_attention: 9 is odd"),
        ({"family": "xlnet", "size": "20m", "hidden_size": 27, "num_attention_heads": 3}, "hidden_size: 27 is odd"),
        ({"family": "xlnet", "hidden_size": 24}, "give a size .10m, 20m, 60m, 180m. or d_inner"),
    ],
)
def test_impossible_models_are_refused(model: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        family_of(recipe(**model))


@pytest.mark.medium
def test_weight_decay_and_muon_leave_out_what_is_no_matrix() -> None:
    model = build_model(recipe(family="xlnet", **TINY["xlnet"]))
    parameters = dict(model.named_parameters())
    decayed = [
        name for name in FAMILIES["xlnet"].decayed_names(model) if name in parameters
    ]  # a tied one has two names
    assert [name for name in decayed if ".0." in name] == [
        *(f"transformer.layer.0.rel_attn.{name}" for name in "qkvor"),
        *(f"transformer.layer.0.ff.layer_{number}.weight" for number in (1, 2)),
    ]
    assert [name for name in decayed if ".layer." not in name] == ["transformer.word_embedding.weight"]
    for family, matrices in (("bert", 6), ("modernbert", 4), ("xlnet", 2)):
        model = build_model(recipe(family=family, **TINY[family]))
        by_muon = FAMILIES[family].muon_names(model)
        assert len(by_muon) == matrices * TINY[family]["num_hidden_layers"]
        assert set(by_muon) <= set(FAMILIES[family].decayed_names(model))


def test_xlnet_leaves_unused_what_is_for_segments() -> None:
    for family, unused in (("bert", set()), ("modernbert", set()), ("xlnet", {"r_s_bias", "seg_embed"})):
        model = build_model(recipe(family=family, **TINY[family])).train()
        permuted(model, torch.randint(3, 1000, (2, 16))).sum().backward()
        without = {name.rpartition(".")[2] for name, one in model.named_parameters() if one.grad is None}
        assert without == unused
        assert SECTIONS[family].leaves_parameters_unused == bool(unused)


def test_older_versions_find_all_of_modernbert_under_their_names() -> None:
    words = {"local_attention": 6, "global_attn_every_n_layers": 2, "global_rope_theta": 1e6, "local_rope_theta": 500}
    config = build_model(recipe(family="modernbert", **TINY["modernbert"], **words)).config.to_dict()
    del config["global_attn_every_n_layers"]  # this version needs the kinds of layers alone
    assert config_fault(config)
    completed = complete_config(config)
    assert completed | words | {"reference_compile": False} == completed
    assert config_fault(completed) is None
