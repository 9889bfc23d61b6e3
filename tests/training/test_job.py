"""One real run, looked at from every side; and the same run killed on its way."""

import itertools
import json
import math
import re
import subprocess
import time
from pathlib import Path

import launching
import pytest
import torch
from launching import finish, run_folder, write_recipe
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_log import LogRecord
from lmeff.formats.state import StateDocument
from lmeff.revisions import differences, list_revisions

pytestmark = pytest.mark.medium


def start(recipe: Path, *words: str) -> subprocess.Popen:
    return launching.start(None, str(recipe), *words)


def read_log(run: Path) -> list[LogRecord]:
    return [LogRecord.model_validate_json(line) for line in (run / "run.log.jsonl").read_text().splitlines()]


def read_anchor(folder: Path) -> AnchorDocument:
    return AnchorDocument.model_validate(json.loads((folder / "anchor.json").read_text()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = write_recipe(tmp_path_factory.mktemp("job"))
    finish(start(recipe))
    return run_folder(recipe)


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
    dev = next((run.parents[2] / "data").glob("*/text/dev-00000.jsonl"))
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
    assert anchor.dev_tokens == len(ids)
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
    output = finish(start(run.parents[2] / "recipe.yaml"))
    assert "is complete at 20,480 tokens; nothing to do" in output
    assert "not scored" not in output
    assert time.monotonic() - begun < 30
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    output = finish(start(run.parents[2] / "recipe.yaml", "evaluation.tasks=[lmeff_synthetic]"))
    assert f"not scored on lmeff_synthetic: lmeff eval {run} --tasks lmeff_synthetic" in output


def test_another_recipe_in_the_same_folder_is_refused(run: Path) -> None:
    process = start(run.parents[2] / "recipe.yaml", "optimizer.learning_rate=1e-3", "batch.tokens=1024")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "optimizer.learning_rate was 0.003, is now 0.001; this changed, too" in output
    assert "batch.tokens was 512, is now 1024; a run cannot go on with another one" in output
    assert json.loads((run / "state.json").read_text())["state"] == "complete"


def one_line(process: subprocess.Popen, code: int) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output.strip().splitlines()[-1]


def test_a_diverging_run_stops_and_keeps_no_broken_model(run: Path) -> None:
    words = ("name=nan", "optimizer.learning_rate=1e9", "training.max_grad_norm=0", "checkpoints.every_steps=1")
    said = one_line(start(run.parents[2] / "recipe.yaml", *words), 1)
    folder = run.parents[1] / "nan" / "seed-1"
    assert re.fullmatch(
        r"the loss or the gradient of step \d is not finite \(tokens [\d,]+ to [\d,]+, sequences (\d+, ){8}\.\.\.\);"
        r" nothing is kept of it\. Lower optimizer\.learning_rate.*",
        said,
    )
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
    finish(start(run.parents[2] / "recipe.yaml", *words))
    folder = run.parents[1] / "compiled" / "seed-1" / "revisions" / "seed-1"
    _, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_no_checkpoints_when_none_are_wanted_and_by_the_clock(run: Path) -> None:
    for name, words in (
        ("none", ("checkpoints.every_steps=null",)),
        ("clock", ("checkpoints.every_steps=null", "checkpoints.every_minutes=0.0001", "checkpoints.keep=3")),
    ):
        finish(start(run.parents[2] / "recipe.yaml", f"name={name}", "anchors.tokens=[0,5k]", *words))
    outputs = run.parents[1]
    assert not (outputs / "none" / "seed-1" / "checkpoints").exists()
    kept = {path.name for path in (outputs / "clock" / "seed-1" / "checkpoints").iterdir()}
    assert len(kept) == 3
    assert kept <= {f"step-{step}" for step in range(1, 11)}
