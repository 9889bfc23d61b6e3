"""Probes of every family: each learns by heart, also what leaves parameters without a gradient."""

import json
import re
from pathlib import Path

import pytest
import torch
from launching import STORIES
from models.tiny_families import TINY, tiny_model
from transformers import PreTrainedModel

from lmeff.cli import main
from lmeff.errors import InputError, RunFailed
from lmeff.models.build import build_model
from lmeff.probes import probe_run
from lmeff.probes.overfit import NEAR_ZERO, overfit
from lmeff.probes.probe_run import prepared_tokens, probe_folder, probe_trainer
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe

pytestmark = pytest.mark.slow

RECIPE = """
name: job
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{{model}}}
batch: {{tokens: 512, sequence_length: 32, micro: 4}}
anchors: {{tokens: [1024]}}
optimizer: {{learning_rate: 1e-2}}
schedule: {{name: constant, warmup: 1 steps}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
SHAPE = "hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64"
MODELS = {family: tiny_model(family) for family in TINY}
MODELS["auto"] = f"family: auto, config: {{model_type: gpt_neox, {SHAPE}}}"
UNUSED = "training.ddp_find_unused_parameters"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probes")
    (folder / "stories.jsonl").write_text(STORIES)
    return folder


def recipe_of(folder: Path, kind: str, *words: str) -> Recipe:
    path = folder / f"{kind}.yaml"
    path.write_text(RECIPE.format(folder=folder, model=MODELS[kind]))
    return read_recipe(path, list(words)).recipe


def with_unused_parameters(recipe: Recipe) -> PreTrainedModel:
    model = build_model(recipe)
    model.base_model.of_no_use = torch.nn.Parameter(torch.ones(3))
    return model


def searches(recipe: Recipe) -> bool | None:
    """Whether DDP would look for parameters without a gradient."""
    with probe_trainer(recipe, prepared_tokens(recipe), 1) as trainer:
        return trainer.args.ddp_find_unused_parameters


@pytest.mark.parametrize("kind", MODELS)
def test_every_family_learns_by_heart(folder: Path, kind: str) -> None:
    recipe = recipe_of(folder, kind)
    with probe_trainer(recipe, prepared_tokens(recipe), 400, 2) as trainer:
        found = overfit(trainer)
    assert found.first_loss > 5
    assert found.last_loss < NEAR_ZERO


def test_what_learns_nothing_is_found_beside_what_is_never_used(folder: Path) -> None:
    recipe = recipe_of(folder, "xlnet")
    with probe_trainer(recipe, prepared_tokens(recipe), 3, 2) as trainer:
        network = trainer.model.transformer.layer[1].ff
        for one in (network.layer_1.weight, network.layer_1.bias, network.layer_2.weight):
            one.data.zero_()
        with pytest.raises(RunFailed, match=r"no gradient reaches transformer\.layer\.1\.ff\.layer_1\.weight"):
            overfit(trainer)
    with (
        probe_trainer(recipe, prepared_tokens(recipe), 3, 2) as trainer,
        pytest.raises(
            RunFailed, match=r"nats per predicted token at first, .* after 3 steps, .* at best: (it|the loss) "
        ),
    ):
        overfit(trainer)


@pytest.mark.parametrize(("kind", "unit"), [("bert", "nats per masked token"), ("xlnet", "nats per predicted token")])
def test_learning_rate(folder: Path, kind: str, unit: str) -> None:
    recipe = recipe_of(folder, kind)
    assert main(["probe", "lr", str(folder / f"{kind}.yaml"), "--first", "1e-5", "--steps", "60"]) == 0
    found = json.loads((probe_folder(recipe) / "lr.json").read_text())
    assert 1e-4 < found["suggested"] < 0.3
    assert min(found["smoothed"]) < 0.95 * found["loss"][0]
    assert found["unit"] == unit


def test_a_loss_of_masked_and_of_causal_rows_is_per_position(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe_of(folder, "llama")
    assert main(["probe", "overfit", str(folder / "llama.yaml"), "objective.name=hybrid", "--sequences", "2"]) == 0
    assert re.search(r"from 5\.\d+ to 0\.0\d+ nats per position in \d+ steps", capsys.readouterr().out)


def test_a_model_that_is_tried_learns_by_heart_beside_what_is_never_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_run, "build_model", with_unused_parameters)
    recipe = recipe_of(folder, "auto")
    with probe_trainer(recipe, prepared_tokens(recipe), 400, 2) as trainer:
        assert overfit(trainer).last_loss < NEAR_ZERO
    recipe = recipe_of(folder, "llama")
    with (
        probe_trainer(recipe, prepared_tokens(recipe), 2, 2) as trainer,
        pytest.raises(RunFailed, match=r"no gradient reaches model\.of_no_use$"),
    ):
        overfit(trainer)


def test_ddp_looks_for_unused_parameters_where_there_are_some_or_a_recipe_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, wanted in (("llama", False), ("xlnet", True), ("auto", False)):
        assert searches(recipe_of(folder, kind)) is wanted
        assert searches(recipe_of(folder, kind, f"{UNUSED}=true")) is True
    assert searches(recipe_of(folder, "auto", f"{UNUSED}=false")) is False
    with pytest.raises(InputError, match=f"{UNUSED}=false: the family 'xlnet' leaves parameters without a gradient"):
        recipe_of(folder, "xlnet", f"{UNUSED}=false")
    monkeypatch.setattr(probe_run, "build_model", with_unused_parameters)
    assert searches(recipe_of(folder, "auto")) is True
    with pytest.raises(InputError, match=f"^{UNUSED}: this model leaves parameters without a gradient"):
        searches(recipe_of(folder, "auto", f"{UNUSED}=false"))
