"""Every family, a stock decoder of no family, and the hybrid, under every engine: the losses and weights of plain training, of
two processes too.

One launch for each engine trains them all; how a step is divided differs from the plain runs.
"""

import json
import subprocess
import sys
from pathlib import Path

import prepared
import pytest
import torch
from launching import ROOT, STORIES, curve, environment
from models.tiny_families import DROPOUT, TINY
from safetensors.torch import load_file
from training.in_turn import run_in_turn

from lmeff.revisions import differences

pytestmark = pytest.mark.slow

RECIPE = """
name: plain
seed: 1
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{family: {family}}}
batch: {{tokens: 256, sequence_length: 32, micro: 8}}
anchors: {{tokens: [0, 768]}}
optimizer: {{learning_rate: 3e-3, epsilon: 1e-4}}
schedule: {{name: constant, warmup: 1 steps}}
training: {{logging_steps: 1, report_to: none}}
evaluation: {{dev_tokens: 500}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
"""Three steps. Such an epsilon keeps Adam from following the sign of a gradient that is rounding and nothing else."""
WORDS = {family: [f"model.{field}=0.1" for field in fields] for family, fields in DROPOUT.items()}
WORDS["hybrid"] = ["objective.name=hybrid", *WORDS["llama"]]
WORDS["auto"] = []
AUTO = "auto, config: {model_type: stablelm, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2,"
AUTO += " num_key_value_heads: 2, intermediate_size: 64, attention_dropout: 0.1}"
"""A decoder that no other test trains."""
ENGINES = ("ddp", "zero1", "zero2", "zero3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of each kind and its plain run; text, tokenizer and tokens are shared."""
    folder = tmp_path_factory.mktemp("families")
    (folder / "stories.jsonl").write_text(STORIES)
    for kind in WORDS:
        family = "llama" if kind == "hybrid" else kind
        shape = "".join(f", {key}: {value}" for key, value in TINY.get(family, {}).items())
        model = AUTO if kind == "auto" else family + shape
        (folder / f"{kind}.yaml").write_text(RECIPE.format(folder=folder, family=model))
    assert run_in_turn(lines(folder, "plain")) == [0] * len(WORDS)
    return folder


def lines(folder: Path, engine: str, *more: str) -> list[list[str]]:
    return [[str(folder / f"{kind}.yaml"), f"name={kind}-{engine}", *more, *words] for kind, words in WORDS.items()]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, folder: Path) -> str:
    """An engine under which all of them were trained, two sequences at a time."""
    launches = folder / f"{request.param}.json"
    launches.write_text(json.dumps(lines(folder, request.param, "batch.micro=2")))
    config = f"launchers/cpu_{request.param}.yaml"
    program = str(Path(__file__).with_name("in_turn.py"))
    done = prepared.run(
        [
            str(Path(sys.executable).with_name("accelerate")),
            "launch",
            "--quiet",
            "--config_file",
            config,
            program,
            str(launches),
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert launches.with_suffix(".codes").exists(), done.stdout
    codes = json.loads(launches.with_suffix(".codes").read_text())
    assert dict(zip(WORDS, codes, strict=True)) == dict.fromkeys(WORDS, 0), done.stdout
    return request.param


@pytest.mark.parametrize("kind", WORDS)
def test_an_engine_trains_a_family_as_plain_training_does(folder: Path, engine: str, kind: str) -> None:
    plain, divided = (folder / "outputs" / f"{kind}-{name}" / "seed-1" for name in ("plain", engine))
    anchor = json.loads((divided / "revisions" / "seed-1" / "anchor.json").read_text())
    assert (anchor["engine"], anchor["world_size"]) == (engine, 2)
    steps, wanted = curve(divided), curve(plain)
    assert [step for step, *_ in steps] == [1, 2, 3]
    assert [loss for _, loss, *_ in steps] == pytest.approx([loss for _, loss, *_ in wanted], abs=1e-5)
    assert differences(divided / "revisions" / "seed-1") == []
    before, after, found = (
        load_file(folder / "model.safetensors")
        for folder in (
            plain / "revisions" / "seed-1-tokens-0",
            plain / "revisions" / "seed-1",
            divided / "revisions" / "seed-1",
        )
    )
    assert found.keys() == after.keys()
    moved = max((after[name] - before[name]).abs().max().item() for name in after)
    assert moved > 1e-3, "a comparison of weights that training left alone says nothing"
    for name, weight in after.items():
        torch.testing.assert_close(
            found[name], weight, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
