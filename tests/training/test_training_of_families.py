"""Every family is trained as Llama is: its loss, whatever the micro-batch, and to the same bits after a restart."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from launching import STORIES, curve, read_lines, train_here, weights
from models.tiny_families import DROPOUT, TINY, tiny_model
from training.in_turn import run_in_turn

from lmeff.models.build import build_model
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe

pytestmark = pytest.mark.slow

RECIPE = """
name: whole
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{{model}}}
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
DRAWN = ("bert", "modernbert", "xlnet", "hybrid")


@pytest.fixture(scope="module", params=CAUSAL)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A recipe of four steps, and the words that give it dropout."""
    return written(tmp_path_factory.mktemp(request.param), request.param)


def written(folder: Path, family: str) -> tuple[Path, list[str]]:
    (folder / "stories.jsonl").write_text(STORIES)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder, model=tiny_model(family)))
    return path, [f"model.{field}=0.1" for field in DROPOUT[family]]


@pytest.fixture(scope="module")
def whole(recipe: tuple[Path, list[str]]) -> Path:
    return trained(recipe[0], "whole", *recipe[1])


def trained(path: Path, name: str, *words: str) -> Path:
    assert train_here([str(path), f"name={name}", *words]) == 0
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


@pytest.mark.parametrize("kind", [*TINY, "hybrid"])
def test_branches_are_finished_models_that_muon_trained(tmp_path: Path, kind: str) -> None:
    """Trunk and branch are, bit for bit and with all that was drawn, a run of warm-up, stable rate and decay to the anchor."""
    path, words = written(tmp_path, "llama" if kind == "hybrid" else kind)
    # A rate that changes does so up to the last anchor, which is not the same one in all of these runs.
    words += ["objective.name=hybrid", "objective.mask_rate=0.3"] if kind == "hybrid" else []
    words = [str(path), "optimizer.name=muon", "schedule.name=wsd", "schedule.decay=0.4", *words]
    lines = [
        [*words, "name=annealed", "anchors.mode=anneal", "anchors.tokens=[1280, 2560]"],
        *([*words, f"name=to_{tokens}", f"anchors.tokens=[{tokens}]"] for tokens in (1280, 2560)),
    ]
    assert run_in_turn(lines) == [0, 0, 0]
    annealed, *wholes = (tmp_path / "outputs" / name / "seed-0" for name in ("annealed", "to_1280", "to_2560"))
    trunk = annealed / "parts" / "trunk"
    for whole, (branch, begin, end) in zip(wholes, (("1280", 3, 5), ("2560", 6, 10)), strict=True):
        parts = curve(trunk)[:begin] + curve(annealed / "parts" / branch)
        assert [step for step, *_ in parts] == list(range(1, end + 1))
        assert parts == curve(whole)
        assert parts[-1][3] < parts[begin - 1][3], "the rate has decayed"
        ours, theirs = (anchor_of(run, f"seed-0-tokens-{branch}") for run in (annealed, whole))
        for name in ("weights_sha256", "num_loss_tokens", "step"):
            assert ours[name] == theirs[name]
        drawn = counts(trunk)[:begin] + counts(annealed / "parts" / branch)
        assert drawn == counts(whole)
        assert drawn[-1] == ours["num_loss_tokens"]
    unequal = len({after - before for before, after in pairwise(drawn)}) > 2
    assert unequal == (kind in DRAWN), "only what is drawn has other numbers in other steps"


def anchor_of(run: Path, revision: str) -> dict:
    return json.loads((run / "revisions" / revision / "anchor.json").read_text())


def counts(run: Path) -> list[int]:
    """Positions with a loss after each step."""
    return [one["num_loss_tokens"] for one in read_lines(run / "run.log.jsonl")]
