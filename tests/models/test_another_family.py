"""A family that is registered by two lines does all that Llama does: nothing else in the house knows the architecture."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
import torch
from launching import ROOT, STORIES, curve, weights
from models.toy_family import Toy, ToySection
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GPTBigCodeForCausalLM

from lmeff import run
from lmeff.errors import InputError
from lmeff.measures.profile.counts import forward_flops_per_token
from lmeff.models.build import build_model
from lmeff.models.dropout import use_stateless_dropout
from lmeff.models.families import FAMILIES, family_of
from lmeff.plan import make_plan
from lmeff.plan.memory import WORK_SPACES
from lmeff.recipe import read_recipe
from lmeff.recipe.json_schema import recipe_json_schema
from lmeff.recipe.sections.model import FAMILIES as SECTIONS
from lmeff.training.optimizers import MuonWithAdamW, build_optimizer, decayed_names

RECIPE = """
name: toy
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{family: toy, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, attention_dropout: 0.2}}
batch: {{tokens: 512, sequence_length: 32, micro: 4}}
anchors: {{tokens: [0, 512, 1536]}}
schedule: {{warmup: 1 steps}}
training: {{logging_steps: 1, report_to: none}}
checkpoints: {{every_steps: 2}}
evaluation: {{dev_tokens: 2000}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""


REGISTER = """
from lmeff.models.families import FAMILIES
from lmeff.recipe.sections.model import FAMILIES as SECTIONS
from models.toy_family import Toy, ToySection

SECTIONS["toy"], FAMILIES["toy"] = ToySection, Toy
"""


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this process, and in those that it starts."""
    monkeypatch.setitem(SECTIONS, "toy", ToySection)
    monkeypatch.setitem(FAMILIES, "toy", Toy)
    (tmp_path / "sitecustomize.py").write_text(REGISTER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests")]))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "stories.jsonl").write_text(STORIES)
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def mistakes(recipe: Path, *words: str) -> list[str]:
    with pytest.raises(InputError) as error:
        read_recipe(recipe, words)
    return [line.partition(": ")[2] for line in str(error.value).split("\n")]


def test_its_recipe_has_its_fields_and_no_others(recipe: Path) -> None:
    resolved = read_recipe(recipe)
    assert isinstance(resolved.recipe.model, ToySection)
    assert resolved.values["model"]["initial_spread"] == 0.02
    assert "rope_theta" not in resolved.values["model"]
    assert resolved.recipe.model_dump()["model"]["num_attention_heads"] == 2
    assert read_recipe(recipe, ["model.size=dot"]).recipe.model.size == "dot"


def test_mistakes_in_its_recipe_are_told_as_everywhere(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(recipe, "model.rope_theta=3", "model.initial_sprd=1") == [
        "model.initial_sprd=1: unknown key; did you mean 'model.initial_spread'?",
        "model.rope_theta=3: unknown key; another family has it; known here: family, size, budget, hidden_size,"
        " num_hidden_layers, num_attention_heads, initial_spread, attention_dropout",
    ]
    (found,) = [line for line in mistakes(recipe, "model.family=tyo") if line.startswith("model.family")]
    assert found.startswith("model.family=tyo: must be 'llama', ")
    assert found.endswith(" or 'toy', not 'tyo'; did you mean 'toy'?")
    assert mistakes(recipe, "model.hidden_size=null")[0].endswith("give a 'size' (dot), or also hidden_size")
    assert mistakes(recipe, "batch.document_mask=true") == [
        "batch.document_mask=true: in the family 'toy' documents of one sequence cannot be kept apart; leave it out"
    ]
    words = ["training.use_liger_kernel=true", "training.liger_kernel_config={rope: true}"]
    assert mistakes(recipe, *words) == [
        "training.use_liger_kernel=true: there are no kernels of Liger for the family 'toy'; leave it out"
    ]
    monkeypatch.setattr(ToySection, "liger_kernels", ("rms_norm",))
    assert mistakes(recipe, *words) == [
        "training.liger_kernel_config={rope: true}: Liger has no 'rope' for the family 'toy'"
    ]


def test_an_objective_that_the_family_does_not_have_is_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToySection, "objectives", ("masked",))
    assert read_recipe(recipe).recipe.objective_name == "masked"
    assert mistakes(recipe, "objective.name=causal") == [
        "objective.name=causal: 'toy' cannot be trained with the objective 'causal', only with masked"
    ]


def test_editors_know_its_fields() -> None:
    schema = json.loads(json.dumps(recipe_json_schema()))
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"model": {"family": "toy", "initial_spread": 0.1}})
    assert not validator.is_valid({"model": {"family": "tyo"}})


def test_its_plan_is_exact(recipe: Path) -> None:
    settings = read_recipe(recipe).recipe
    plan = make_plan(settings)
    with torch.device("meta"):
        config = AutoConfig.for_model("gpt_bigcode", **family_of(settings).config_values(settings), vocab_size=320)
        model = AutoModelForCausalLM.from_config(config)
    assert plan.parameters.total == sum(one.numel() for one in model.parameters())
    assert plan.parameters.embedding == model.get_input_embeddings().weight.numel()
    assert plan.flops_per_token == 6 * (2 * 12 * 32 * 32 + 320 * 32) + 12 * 2 * 32 * 32
    # Attention weights are dropped: each of 32 by 32, of 2 heads and layers, takes 7 bytes in 16-bit training.
    # Beside them are 16-bit copies of the matrices.
    copies = 2 * (2 * 12 * 32 * 32 + 320 * 32)
    kept = 4 * 32 * 2 * 34 * 32 * 2 + 4 * 2 * 2 * 32 * 32 * 7
    assert plan.memory["ddp"].activations == kept + copies + WORK_SPACES
    assert forward_flops_per_token(build_model(settings), 32)[0] == plan.flops_per_token / 3


def test_its_optimizers_take_what_it_says(recipe: Path) -> None:
    settings = read_recipe(recipe, ["optimizer.name=muon"]).recipe
    model = build_model(settings)
    optimizer = build_optimizer(settings.optimizer, model, decayed_names(model), fused=False, zero=False)
    assert isinstance(optimizer, MuonWithAdamW)
    names = {id(one): name for name, one in model.named_parameters()}
    by_muon = {names[id(one)] for group in optimizer.param_groups if "ns_steps" in group for one in group["params"]}
    matrices = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert by_muon == {f"transformer.h.{layer}.{name}.weight" for layer in (0, 1) for name in matrices}
    decayed = decayed_names(model)
    assert not any("ln_" in name or name.endswith("bias") for name in decayed)


def test_what_it_does_not_decay_is_not(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(read_recipe(recipe).recipe)
    before = decayed_names(model)
    monkeypatch.setattr(Toy, "never_decayed", r"\.wpe\.")
    assert set(before) - set(decayed_names(model)) == {"transformer.wpe.weight"}


def test_its_dropout_depends_on_the_place_alone(recipe: Path) -> None:
    """The same two sequences together and one after the other."""
    model = build_model(read_recipe(recipe).recipe).train()
    place = use_stateless_dropout(model, seed=0)
    ids = torch.arange(64).reshape(2, 32)
    place.step, place.slots = 3, range(2)
    together = model(ids).logits
    place.slots = [1]
    alone = model(ids[1:]).logits
    torch.testing.assert_close(alone, together[1:])
    place.slots = [0]
    assert not torch.allclose(model(ids[1:]).logits, together[1:])


@pytest.mark.slow
def test_it_is_trained_saved_and_loaded(recipe: Path) -> None:
    assert run.main([str(recipe)]) == 0
    folder = recipe.parent / "outputs" / "toy" / "seed-0"
    assert [step for step, *_ in curve(folder)] == [1, 2, 3]
    revision = folder / "revisions" / "seed-0"
    model = AutoModelForCausalLM.from_pretrained(revision)
    assert isinstance(model, GPTBigCodeForCausalLM)
    saved = load_file(revision / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in saved.items())
    ids = AutoTokenizer.from_pretrained(revision)("Anna had 3 cats.", return_tensors="pt").input_ids
    assert model(ids).logits.isfinite().all()
    assert "A toy GPT-2 of " in (revision / "README.md").read_text()
    assert "- gpt_bigcode" in (revision / "README.md").read_text()


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint_with_the_same_bits(recipe: Path) -> None:
    assert run.main([str(recipe), "name=halved", "anchors.tokens=[0, 512, 1024]", "schedule.name=constant"]) == 0
    assert run.main([str(recipe), "name=whole", "schedule.name=constant", "anchors.tokens=[0, 512, 1024, 1536]"]) == 0
    words = ["name=halved", "anchors.tokens=[0, 512, 1024, 1536]", "schedule.name=constant", "--accept-changes"]
    assert run.main([str(recipe), *words]) == 0
    outputs = recipe.parent / "outputs"
    assert weights(outputs / "halved" / "seed-0") == weights(outputs / "whole" / "seed-0")
