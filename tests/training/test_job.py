"""One real run, looked at from every side; and the same run killed on its way."""

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.files import sha256_file
from lmeff.recipe.documents import AnchorDocument, LogRecord, StateDocument
from lmeff.revisions import differences, list_revisions
from lmeff.training.checkpoints import seal

STORIES = "\n".join(
    json.dumps(
        {"text": f"{name} had {count} {thing}. {name} lost one, and then there were {count - 1} of the {thing}."}
    )
    for name in ("Anna", "Ben", "Carla", "Dan", "Eva")
    for count in range(2, 30)
    for thing in ("cats", "dogs", "red apples", "small boats")
)

RECIPE = """
name: job
seed: 1
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, attention_dropout: 0.1}}
batch: {{tokens: 512, sequence_length: 32, micro: 4}}
anchors: {{tokens: [0, 5000, 20k]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{warmup: 5 steps}}
training: {{logging_steps: 1}}
checkpoints: {{every_steps: 7, keep: 2}}
evaluation: {{dev_tokens: 5000}}
paths: {{outputs: '{folder}/{outputs}', data: '{folder}/data'}}
"""


def write_recipe(folder: Path, outputs: str) -> Path:
    (folder / "stories.jsonl").write_text(STORIES)
    path = folder / f"{outputs}.yaml"
    path.write_text(RECIPE.format(folder=folder, outputs=outputs))
    return path


def start(recipe: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "lmeff.run", str(recipe), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def read_log(run: Path) -> list[LogRecord]:
    return [LogRecord.model_validate_json(line) for line in (run / "run.log.jsonl").read_text().splitlines()]


def read_anchor(folder: Path) -> AnchorDocument:
    return AnchorDocument.model_validate(json.loads((folder / "anchor.json").read_text()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    finish(start(write_recipe(folder, "whole")))
    return folder / "whole" / "job" / "seed-1"


def test_anchors_are_exact_and_whole(run: Path) -> None:
    folders = list_revisions(run)
    assert [folder.name for folder in folders] == ["seed-1-tokens-0", "seed-1-tokens-5k", "seed-1-tokens-20k"]
    anchors = [read_anchor(folder) for folder in folders]
    assert [(anchor.step, anchor.exact_tokens) for anchor in anchors] == [(0, 0), (10, 5120), (40, 20_480)]
    assert all(differences(folder) == [] for folder in folders)
    final = read_anchor(run / "revisions" / "seed-1")
    assert final.same_as == folders[-1].name
    assert final.weights_sha256 == anchors[-1].weights_sha256
    assert anchors[0].loss is None
    assert anchors[0].dev_loss == pytest.approx(math.log(320), rel=0.03)
    assert anchors[-1].dev_loss < anchors[1].dev_loss < anchors[0].dev_loss


def test_an_anchor_reloads_to_its_recorded_loss(run: Path) -> None:
    """With transformers alone, from the text: whole documents `<s> text </s>`, each token predicted once."""
    folder = run / "revisions" / "seed-1-tokens-20k"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    dev = next((run.parents[2] / "data").glob("*/text/dev.jsonl"))
    texts = [json.loads(line)["text"] for line in dev.read_text().splitlines()]
    documents = [[tokenizer.bos_token_id, *tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts]
    ids, num_bytes = list(itertools.chain(*documents)), sum(len(text.encode()) for text in texts)
    assert len(ids) < 5000, "all of the held-out text is scored"
    nats = 0.0
    for start_at in range(0, len(ids) - 1, 31):
        window = torch.tensor([ids[start_at : start_at + 32]])
        nats += model(input_ids=window, labels=window).loss.item() * (window.shape[1] - 1)
    anchor = read_anchor(folder)
    assert anchor.dev_loss == pytest.approx(nats / (len(ids) - 1), rel=1e-5)
    assert anchor.dev_bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    assert anchor.dev_perplexity == pytest.approx(math.exp(anchor.dev_loss), rel=1e-9)


def test_the_log_counts_tokens_from_the_step(run: Path) -> None:
    log = read_log(run)
    assert [record.step for record in log] == list(range(1, 41))
    assert all(record.tokens == 512 * record.step for record in log)
    assert all(record.num_loss_tokens == 16 * 31 * record.step for record in log)
    assert log[-1].epoch == pytest.approx(read_anchor(run / "revisions" / "seed-1-tokens-20k").epoch, abs=1e-6)
    assert 1 < log[-1].epoch < 5
    assert log[0].learning_rate == pytest.approx(0.0)
    assert max(record.learning_rate for record in log) == pytest.approx(3e-3)
    assert log[9].loss == pytest.approx(read_anchor(run / "revisions" / "seed-1-tokens-5k").loss, rel=1e-6)


def test_state_plan_and_report_are_there(run: Path) -> None:
    state = StateDocument.model_validate(json.loads((run / "state.json").read_text()))
    assert (state.state, state.step, state.tokens, state.next_anchor, state.error) == (
        "complete",
        40,
        20_480,
        None,
        None,
    )
    assert json.loads((run / "plan.json").read_text())["num_steps"] == 40
    page = (run / "report.html").read_text()
    assert all(f"<code>seed-1-tokens-{name}</code>" in page for name in ("0", "5k", "20k"))
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-35", "step-40"]


def test_a_finished_run_is_left_alone(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    begun = time.monotonic()
    output = finish(start(run.parents[2] / "whole.yaml"))
    assert "is complete at 20,480 tokens; nothing to do" in output
    assert "not scored" not in output
    assert time.monotonic() - begun < 30
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    output = finish(start(run.parents[2] / "whole.yaml", "evaluation.tasks=[lmeff_synthetic]"))
    assert f"not scored on lmeff_synthetic: lmeff eval {run} --tasks lmeff_synthetic" in output


def test_a_killed_run_goes_on_to_the_same_weights(run: Path) -> None:
    folder = run.parents[2]
    recipe = write_recipe(folder, "killed")
    target = folder / "killed" / "job" / "seed-1"
    for checkpoint in ("step-7", "step-28"):
        process = start(recipe)
        deadline = time.monotonic() + 240
        while not (target / "checkpoints" / checkpoint / "manifest.json").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (target / "revisions" / "seed-1").exists()
    assert "going on from" in finish(start(recipe))
    for name in ("seed-1-tokens-0", "seed-1-tokens-5k", "seed-1-tokens-20k", "seed-1"):
        assert sha256_file(target / "revisions" / name / "model.safetensors") == sha256_file(
            run / "revisions" / name / "model.safetensors"
        )
    compared = [(record.step, record.loss, record.grad_norm, record.learning_rate) for record in read_log(target)]
    assert compared == [(record.step, record.loss, record.grad_norm, record.learning_rate) for record in read_log(run)]


def test_another_recipe_in_the_same_folder_is_refused(run: Path) -> None:
    process = start(run.parents[2] / "whole.yaml", "optimizer.learning_rate=1e-3", "batch.tokens=1024")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "optimizer.learning_rate was 0.003, is now 0.001" in output
    assert "batch.tokens was 512, is now 1024" in output
    assert json.loads((run / "state.json").read_text())["state"] == "complete"


def one_line(process: subprocess.Popen, code: int) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output.strip().splitlines()[-1]


def test_a_diverging_run_stops_and_keeps_no_broken_model(run: Path) -> None:
    words = ("name=nan", "optimizer.learning_rate=1e9", "training.max_grad_norm=0", "checkpoints.every_steps=1")
    said = one_line(start(run.parents[2] / "whole.yaml", *words), 1)
    folder = run.parents[1] / "nan" / "seed-1"
    assert "lower optimizer.learning_rate" in said or "no checkpoint is made of it" in said
    state = StateDocument.model_validate(json.loads((folder / "state.json").read_text()))
    assert (state.state, state.error) == ("failed", said)
    assert [path.name for path in (folder / "revisions").iterdir()] == ["seed-1-tokens-0"]
    assert all(math.isfinite(record.loss) for record in read_log(folder) if record.loss is not None)


def test_a_compiled_model_is_kept_whole(run: Path) -> None:
    """torch.compile wraps the model and renames its weights; a revision has the names that transformers knows."""
    words = (
        "name=compiled",
        "training.torch_compile=true",
        "training.torch_compile_backend=eager",
        "anchors.tokens=[5k]",
    )
    finish(start(run.parents[2] / "whole.yaml", *words))
    folder = run.parents[1] / "compiled" / "seed-1" / "revisions" / "seed-1"
    _, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_no_checkpoints_when_none_are_wanted_and_by_the_clock(run: Path) -> None:
    for name, words in (
        ("none", ("checkpoints.every_steps=null",)),
        ("clock", ("checkpoints.every_steps=null", "checkpoints.every_minutes=0.0001", "checkpoints.keep=3")),
    ):
        finish(start(run.parents[2] / "whole.yaml", f"name={name}", "anchors.tokens=[0,5k]", *words))
    outputs = run.parents[1]
    assert not (outputs / "none" / "seed-1" / "checkpoints").exists()
    kept = {path.name for path in (outputs / "clock" / "seed-1" / "checkpoints").iterdir()}
    assert len(kept) == 3
    assert kept <= {f"step-{step}" for step in range(1, 11)}


def test_a_checkpoint_of_another_engine_is_refused(run: Path) -> None:
    checkpoint = run / "checkpoints" / "step-40"
    own = json.loads((checkpoint / "lmeff.json").read_text())
    assert (own["engine"], own["world_size"], own["micro_batch"]) == ("plain", 1, 4)
    folder = run.parents[1] / "moved" / "seed-1"
    shutil.copytree(run, folder)
    for name in ("state.json", "revisions/seed-1/manifest.json"):
        (folder / name).unlink()
    moved = folder / "checkpoints" / "step-40"
    (moved / "lmeff.json").write_text(json.dumps(own | {"engine": "zero2", "world_size": 2}))
    seal(moved)
    (folder / "recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace("name: job", "name: moved"))
    said = one_line(start(run.parents[2] / "whole.yaml", "name=moved"), 2)
    assert "was written with another engine (zero2, now plain)" in said
