"""Every family is trained as Llama is: its loss, whatever the micro-batch, and to the same bits after a restart."""

import json
from pathlib import Path

import pytest
import torch
from launching import STORIES, curve, weights
from models.tiny_families import DROPOUT, TINY

from lmeff import run
from lmeff.models.build import build_model
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe

pytestmark = pytest.mark.slow

RECIPE = """
name: whole
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{family: {family}}}
batch: {{tokens: 256, sequence_length: 32, micro: 8, log_samples: true}}
anchors: {{tokens: [0, 1024]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{name: constant, warmup: 1 steps}}
training: {{logging_steps: 1, report_to: none}}
checkpoints: {{every_steps: 2}}
evaluation: {{dev_tokens: 1000}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
CAUSAL = ("gpt2", "gptj", "mamba2")


@pytest.fixture(scope="module", params=CAUSAL)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A recipe of four steps, and the words that give it dropout."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "stories.jsonl").write_text(STORIES)
    path = folder / "recipe.yaml"
    shape = "".join(f", {key}: {value}" for key, value in TINY[request.param].items())
    path.write_text(RECIPE.format(folder=folder, family=f"{request.param}{shape}"))
    return path, [f"model.{field}=0.1" for field in DROPOUT[request.param]]


@pytest.fixture(scope="module")
def whole(recipe: tuple[Path, list[str]]) -> Path:
    return trained(recipe[0], "whole", *recipe[1])


def trained(path: Path, name: str, *words: str) -> Path:
    assert run.main([str(path), f"name={name}", *words]) == 0
    return path.parent / "outputs" / name / "seed-0"


def test_the_first_loss_is_the_cross_entropy_of_the_first_batch(recipe: tuple[Path, list[str]]) -> None:
    """Written out in float64, token by token."""
    folder = trained(recipe[0], "plain", "anchors.tokens=[256]", "schedule.warmup=0")
    settings = read_recipe(recipe[0]).recipe
    first = json.loads((folder / "samples.jsonl").read_text().splitlines()[0])
    stream = prepared_tokens(settings).train
    rows = torch.stack(
        [torch.tensor(stream.slice(32 * one, 32 * one + 32).astype("int64")) for one in first["sequence_ids"]]
    )
    assert rows.shape == (8, 32)
    with torch.no_grad():
        odds = build_model(settings).double().eval()(rows).logits.double()
    nats = [-odds[row, at].log_softmax(-1)[rows[row, at + 1]].item() for row in range(8) for at in range(31)]
    assert curve(folder)[0][1] == pytest.approx(sum(nats) / len(nats), abs=2e-6)


def test_losses_do_not_depend_on_the_micro_batch(recipe: tuple[Path, list[str]], whole: Path) -> None:
    divided = trained(recipe[0], "divided", "batch.micro=2", *recipe[1])
    losses = [[loss for _, loss, *_ in curve(folder)] for folder in (whole, divided)]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_a_run_that_goes_on_has_the_same_bits(recipe: tuple[Path, list[str]], whole: Path) -> None:
    path, words = recipe
    trained(path, "halved", "anchors.tokens=[0, 512]", *words)
    halved = trained(path, "halved", *words, "--accept-changes")
    assert curve(halved) == curve(whole)
    assert weights(halved)["seed-0"] == weights(whole)["seed-0"]
