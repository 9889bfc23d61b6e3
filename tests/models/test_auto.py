"""The family `auto`: decoders of stock transformers that nobody here has written down."""

import json
import sys
from pathlib import Path
from typing import Any

import prepared
import pytest
import torch
from launching import STORIES, curve, train_here, weights
from models.tiny_recipe import recipe
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPTNeoXForCausalLM, PreTrainedModel

from lmeff import cli
from lmeff.errors import InputError
from lmeff.hub.names import hub_names
from lmeff.models.build import build_model
from lmeff.models.dropout import use_stateless_dropout
from lmeff.models.families import check_family, family_of
from lmeff.models.trial import leaves_parameters_unused
from lmeff.plan import make_plan
from lmeff.plan.text import format_plan
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.optimizer import Optimizer
from lmeff.recipe.sections.schedule import Schedule
from lmeff.training.optimizers import MuonWithAdamW, build_optimizer, decayed_names

WIDE = {"hidden_size": 32, "num_hidden_layers": 2}
SHAPE = WIDE | {"num_attention_heads": 2}
TINY: dict[str, dict[str, Any]] = {
    "gpt_neox": SHAPE | {"intermediate_size": 64},
    "opt": SHAPE | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "qwen3": SHAPE | {"intermediate_size": 64, "num_key_value_heads": 1, "head_dim": 8},
    "mamba": WIDE | {"state_size": 8},
}
MATMUL = {  # by hand: layers, then the output
    "gpt_neox": 2 * (4 * 32 * 32 + 2 * 32 * 64) + 301 * 32,
    "opt": 2 * (4 * 32 * 32 + 2 * 32 * 64) + 301 * 32,
    "qwen3": 2 * (2 * 32 * 16 + 2 * 32 * 8 + 3 * 32 * 64) + 301 * 32,
    "mamba": 2 * (32 * 128 + 64 * 4 + 64 * (2 + 2 * 8) + 2 * 64 + 64 * 32) + 301 * 32,
}
FILE = """
name: tiny
corpus: {name: synthetic}
tokenizer: {vocab_size: 301}
model:
  family: auto
  config:
    model_type: gpt_neox
    hidden_size: 32
    num_hidden_layers: 2
    num_attention_heads: 2
batch: {tokens: 1024, sequence_length: 128, micro: 4}
anchors: {tokens: [10240]}
schedule: {warmup: 1 steps}
"""
RUN = """
name: whole
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model:
  family: auto
  config: {{model_type: gpt_neox, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64}}
batch: {{tokens: 256, sequence_length: 32, micro: 8, log_samples: true}}
anchors: {{tokens: [0, 1024]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{name: constant, warmup: 0}}
training: {{logging_steps: 1, report_to: none}}
checkpoints: {{every_steps: 2}}
evaluation: {{dev_tokens: 1000}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""


def tiny(model_type: str, **values: Any) -> Recipe:
    config = {"model_type": model_type} | TINY.get(model_type, SHAPE) | values
    settings = recipe(301, family="auto", config=config)
    return settings.model_copy(update={"schedule": Schedule(warmup=0)})


@pytest.mark.parametrize("model_type", TINY)
def test_counts_are_those_of_the_real_model(model_type: str) -> None:
    settings = tiny(model_type)
    model, ours = build_model(settings), family_of(settings)
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    counted = ours.count_parameters()
    assert counted.total == sum(one.numel() for one in model.parameters())
    assert counted.embedding == 301 * 32 * (1 if inputs is outputs else 2)
    assert counted.total == counted.embedding + counted.non_embedding
    assert counted.matmul == MATMUL[model_type]
    assert ours.tie_word_embeddings == (inputs is outputs)
    heads = {"mamba": 0, "qwen3": 2 * 8}.get(model_type, 32)
    assert ours.flops_per_token(128) == 6 * MATMUL[model_type] + 12 * 2 * heads * 128
    assert type(model).__name__ == ours.model_class
    assert getattr(model.config, "max_position_embeddings", 0) == ours.max_position_embeddings


@pytest.mark.parametrize("model_type", TINY)
def test_activations_are_estimated_from_above(model_type: str) -> None:
    settings = tiny(model_type)
    model, kept = build_model(settings).train(), dict[int, int]()
    own = {one.data_ptr() for one in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        body = model.base_model(input_ids=torch.arange(256).reshape(2, 128))[0]
    assert body.requires_grad
    estimated = family_of(settings).activation_bytes(256, 4, 128)
    assert 0.9 * sum(kept.values()) < estimated < 2.5 * sum(kept.values())


def test_weights_depend_on_shape_and_seed() -> None:
    settings = tiny("opt")
    torch.manual_seed(1)
    first, state = build_model(settings).state_dict(), torch.get_rng_state()
    torch.manual_seed(2)
    again = build_model(settings).state_dict()
    assert all(torch.equal(one, again[name]) for name, one in first.items())
    assert not torch.equal(state, torch.get_rng_state())
    other = build_model(settings.model_copy(update={"seed": 1})).state_dict()
    assert not torch.equal(other["lm_head.weight"], first["lm_head.weight"])


SPECIAL = {
    "modernbert-decoder": {"cls_token_id": 1, "sep_token_id": 2},
    "hunyuan_v1_moe": {"eod_token_id": 2, "sep_token_id": 2},
}

MORE = {"hunyuan_v1_moe": {"head_dim": 16, "num_experts": 2}}


@pytest.mark.parametrize("model_type", SPECIAL)
def test_special_tokens_are_the_tokenizers_whatever_a_configuration_calls_them(model_type: str) -> None:
    config = build_model(tiny(model_type, intermediate_size=64, **MORE.get(model_type, {}))).config
    tokens = {key: value for key, value in config.to_dict().items() if key.endswith("_token_id") and value is not None}
    assert tokens == {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | SPECIAL[model_type]


@pytest.mark.medium
def test_a_plan_does_not_warn_of_values_that_the_model_does_not_have(tmp_path: Path) -> None:
    """In a process of its own: transformers says some of them once."""
    (tmp_path / "a.yaml").write_text(FILE)
    for model_type in ("starcoder2", "modernbert-decoder"):
        words = [f"model.config.model_type={model_type}", "model.config.intermediate_size=64"]
        command = [sys.executable, "-m", "lmeff.cli", "plan", str(tmp_path / "a.yaml"), *words]
        answer = prepared.run(command, capture_output=True, text=True, check=True)
        assert "auto " + model_type in answer.stdout
        assert answer.stderr == ""


def mistakes(folder: Path, *words: str) -> list[str]:
    path = folder / "a.yaml"
    path.write_text(FILE)
    with pytest.raises(InputError) as error:
        check_family(read_recipe(path, words))
    return [line.removeprefix(f"{folder}/") for line in str(error.value).split("\n")]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("model_type=gpt2", "'gpt2' is a family of its own: write family: gpt2, with its keys under 'model:'"),
        ("model_type=gpt-sw3", "'gpt-sw3' is the family 'gpt2'; write family: gpt2"),
        ("model_type=gpt_neo_x", "transformers has no 'gpt_neo_x'; did you mean 'gpt_neox'?"),
        ("model_type=zzz", "transformers has no 'zzz'; models with code of their own are not built"),
        ("model_type=3", "missing or no text; say which of transformers' models it is, such as gpt_neox"),
        ("model_type=roberta", "'roberta' is an encoder; 'auto' trains decoders, and bert and modernbert are families"),
        ("model_type=bart", "'bart' is an encoder-decoder; models of one stack are trained, not of two"),
        ("model_type=vit", "transformers has no causal language model of the kind 'vit'"),
        (
            "model_type=gemma3",
            "'gemma3' reads more than text, or is made of several models; did you mean 'gemma3_text'?",
        ),
        ("hiden_size=32", "unknown key of a gpt_neox configuration; did you mean 'hidden_size'?"),
        ("vocab_size=99", "must not be given: tokenizer.vocab_size decides it"),
        ("cls_token_id=0", "must not be given: the tokenizer decides it"),
        ("pad_token_id=0", "must not be given: the tokenizer decides it"),
        ("use_cache=false", "must not be given: training decides it"),
        (
            "auto_map={}",
            "must not be given: only models whose code is in transformers are built, none that need code from",
        ),
        ("max_position_embeddings=64", "64 is below batch.sequence_length (128)"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, word: str, line: str) -> None:
    (found,) = mistakes(tmp_path, f"model.config.{word}")
    assert found.startswith(f"command line: model.config.{word}: {line}")


def test_mistakes_in_a_file_name_its_line(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, "model.config.hidden_size=wide")
    assert found.startswith("a.yaml:8: model.config: transformers cannot build this model")
    assert "hidden_size" in found
    (found,) = mistakes(tmp_path, "model.config={model_type: opt, hiden: 3}")
    assert "model.config.hiden: unknown key" in found
    (found,) = mistakes(tmp_path, "model.size=20m")
    assert found == "command line: model.size=20m: the family 'auto' has no named sizes; leave it out"
    (found,) = mistakes(tmp_path, "batch.document_mask=true")
    assert "documents of one sequence cannot be kept apart" in found


def test_a_model_that_fails_sees_later_tokens_or_has_dropout_of_its_own_is_not_trained() -> None:
    with pytest.raises(InputError, match="a BertGenerationDecoder of this configuration a token sees later ones"):
        build_model(tiny("bert-generation", intermediate_size=64))
    with pytest.raises(InputError, match=r"a OPTForCausalLM draws random numbers .*; leave out dropout$"):
        build_model(tiny("opt", dropout=0.1))
    with pytest.raises(
        InputError, match="a CodeGenForCausalLM of this configuration fails when it reads 8 tokens: Runt"
    ):
        build_model(
            recipe(301, family="auto", config={"model_type": "codegen", "n_embd": 32, "n_layer": 1, "n_head": 2})
        )
    assert build_model(tiny("opt")).config.dropout == 0.0


@pytest.mark.parametrize("model_type", ["gpt_neox", "mamba", "mixtral"])
def test_unused_parameters_are_looked_for_where_there_are_some(model_type: str) -> None:
    """Experts of the present transformers are one parameter, of which each token uses a part."""
    more = (
        {"intermediate_size": 64, "num_local_experts": 4, "num_key_value_heads": 2} if model_type == "mixtral" else {}
    )
    model, state = build_model(tiny(model_type, **more)), torch.get_rng_state()
    assert not leaves_parameters_unused(model)
    model.base_model.of_no_use = torch.nn.Parameter(torch.ones(3))
    assert leaves_parameters_unused(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one.grad is None for one in model.parameters())


def losses(model: PreTrainedModel, place: Any, ids: torch.Tensor, micro: int) -> float:
    total = 0.0
    for first in range(0, len(ids), micro):
        rows = ids[first : first + micro]
        place.slots = range(first, first + len(rows))
        odds = model(input_ids=rows).logits[:, :-1]
        total += cross_entropy(odds.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
    return total / ids[:, 1:].numel()


def test_losses_with_dropout_do_not_depend_on_the_micro_batch() -> None:
    settings = tiny("gpt_neox", attention_dropout=0.2, hidden_dropout=0.2)
    model = build_model(settings).train()
    place = use_stateless_dropout(model, 0)
    ids = torch.randint(301, (8, 32), generator=torch.Generator().manual_seed(0))
    whole = losses(model, place, ids, 8)
    assert losses(model, place, ids, 2) == pytest.approx(whole, abs=1e-6)
    place.step = 1
    assert abs(losses(model, place, ids, 8) - whole) > 1e-4


@pytest.mark.parametrize(("model_type", "matrices"), [("gpt_neox", 4), ("opt", 6), ("mamba", 4)])
def test_muon_takes_the_matrices_of_layers(model_type: str, matrices: int) -> None:
    model = build_model(tiny(model_type))
    decayed = decayed_names(model)
    optimizer = build_optimizer(Optimizer(name="muon"), model, decayed, fused=False, zero=False)
    assert isinstance(optimizer, MuonWithAdamW)
    names = {id(one): name for name, one in model.named_parameters()}
    by_muon = {names[id(one)] for group in optimizer.param_groups if "ns_steps" in group for one in group["params"]}
    assert len(by_muon) == 2 * matrices
    assert by_muon <= set(decayed)
    assert not any(".embed" in name or "A_log" in name for name in by_muon)
    assert not any("norm" in name or name.endswith(("bias", "A_log", ".D")) for name in decayed)


def test_muon_without_a_list_of_layers_is_refused() -> None:
    """LongCat has two attentions a layer, and a list of half as many modules as it says it has layers."""
    settings = recipe(family="auto", config={"model_type": "longcat_flash", "num_layers": 2})
    with pytest.raises(InputError, match=r"^optimizer.name: 'muon' is for the matrices of layers, and a LongcatFlash"):
        family_of(settings.model_copy(update={"optimizer": Optimizer(name="muon")}))


def test_plan_and_names() -> None:
    settings = tiny("opt")
    plan = make_plan(settings)
    said = format_plan(plan)
    assert "\nmodel      auto opt (causal): " in said
    assert "counted    on the model itself, built on the meta device, for which torch was imported; FLOPs" in said
    assert hub_names(settings, plan, "me").repository == f"me/synthetic-{plan.parameters.total / 1e3:.1f}k-tok301-opt"
    assert (family_of(settings).title, family_of(settings).model_type) == ("An OPT language model", "opt")


def trained(folder: Path, name: str, *words: str) -> Path:
    path = folder / "run.yaml"
    if not path.exists():
        (folder / "stories.jsonl").write_text(STORIES)
        path.write_text(RUN.format(folder=folder))
    assert train_here([str(path), f"name={name}", *words]) == 0
    return folder / "outputs" / name / "seed-0"


@pytest.mark.slow
def test_it_is_trained_as_every_family_is(tmp_path: Path) -> None:
    """The first loss is the cross-entropy in float64, a later one does not depend on the micro-batch, what is killed goes on to
    the same bits, and a revision is loaded by the stock class."""
    whole = trained(tmp_path, "whole")
    settings = read_recipe(tmp_path / "run.yaml").recipe
    first = json.loads((whole / "samples.jsonl").read_text().splitlines()[0])
    stream = prepared_tokens(settings).train
    rows = [torch.tensor(stream.slice(32 * one, 32 * one + 32).astype("int64")) for one in first["sequence_ids"]]
    ids = torch.stack(rows)
    with torch.no_grad():
        odds = build_model(settings).double().eval()(ids).logits
    nats = [-odds[row, at].log_softmax(-1)[ids[row, at + 1]].item() for row in range(8) for at in range(31)]
    assert curve(whole)[0][1] == pytest.approx(sum(nats) / len(nats), abs=2e-6)
    divided = trained(tmp_path, "divided", "batch.micro=2")
    assert [one[1] for one in curve(divided)] == pytest.approx([one[1] for one in curve(whole)], abs=1e-5)
    trained(tmp_path, "halved", "anchors.tokens=[0, 512]")
    halved = trained(tmp_path, "halved", "--accept-changes")
    assert curve(halved) == curve(whole)
    assert weights(halved)["seed-0"] == weights(whole)["seed-0"]
    assert cli.main(["verify", str(whole), "--local"]) == 0
    revision = whole / "revisions" / "seed-0"
    loaded = AutoModelForCausalLM.from_pretrained(revision)
    assert isinstance(loaded, GPTNeoXForCausalLM)
    saved = load_file(revision / "model.safetensors")
    names = {
        name: name.replace("embed_out", "lm_head") for name in saved
    }  # files keep the name that older versions know
    assert all(torch.equal(loaded.state_dict()[names[name]], one) for name, one in saved.items())
    assert len(saved) == len(loaded.state_dict())
    card = (revision / "README.md").read_text()
    assert "A GPTNeoX language model" in card
    assert "- gpt_neox" in card
