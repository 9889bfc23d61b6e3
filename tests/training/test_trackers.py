"""Real trackio and TensorBoard: one run each, whole after kills, with tokens, held-out losses and scores."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from launching import ended, finish, read_lines, run_folder, start, write_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState

from lmeff.plan import make_plan
from lmeff.recipe import read_recipe
from lmeff.training.callbacks.tracking import TrackingCallback

pytestmark = pytest.mark.slow
# trackio reads its folder once in a process, so it is asked in a process of its own.
ASK = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage
project = sys.argv[1]
records = SQLiteStorage.get_run_records(project)
print(json.dumps([[one["name"], SQLiteStorage.get_logs(project, run_id=one["id"])] for one in records]))
"""
EXTRA: dict[str, str] = {}
BOTH = "training.report_to=[trackio,tensorboard]"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def variables(recipe: Path) -> dict[str, str]:
    return {"TRACKIO_DIR": str(recipe.parent / "trackio"), "HF_HUB_OFFLINE": "1"} | EXTRA


def train(recipe: Path, *words: str) -> str:
    return finish(start(None, str(recipe), *words, variables=variables(recipe)))


def kill(recipe: Path, *words: str, before_line: int) -> None:
    """Kills the run before it writes that many lines into its log."""
    fault = f"kill_at_write:{before_line}:*/run.log.jsonl"
    code, said = ended(start(None, str(recipe), *words, variables=variables(recipe), faults=[fault]))
    assert code == -signal.SIGKILL, said


def in_trackio(recipe: Path, project: str = "job") -> list[tuple[str, list[dict]]]:
    """The runs of a project by name, with what was logged of each."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK, project],
        env={**os.environ, **variables(recipe)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [(name, logs) for name, logs in json.loads(answer.stdout.splitlines()[-1])]


def in_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(tokens, value) of every scalar."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def of_log(run: Path, name: str) -> list[tuple[int, float]]:
    return [(line["step"], line[name]) for line in read_lines(run / "run.log.jsonl")]


def of_anchors(run: Path, name: str) -> list[tuple[int, float]]:
    found = [json.loads(path.read_text()) for path in run.glob("revisions/*-tokens-*/anchor.json")]
    return sorted((one["step"], one[name]) for one in found)


def assert_whole(run: Path, trackio_logs: list[dict], tensorboard: dict[str, list[tuple[int, float]]]) -> None:
    """Both have every step of the run's own log once and in order, and every anchor."""
    for name in ("loss", "grad_norm", "learning_rate", "epoch"):
        wanted = of_log(run, name)
        assert [step for step, _ in wanted] == list(range(1, 41))
        key = f"train/{name}"
        assert [(line["step"], line[key]) for line in trackio_logs if key in line] == wanted
        scaled = [(512 * step, pytest.approx(value, rel=1e-6)) for step, value in wanted]
        assert tensorboard[key] == scaled
    for name in ("loss", "perplexity", "bits_per_byte"):
        wanted = of_anchors(run, f"dev_{name}")
        assert [step for step, _ in wanted] == [0, 10, 40]
        key = f"dev/{name}"
        assert [(line["step"], line[key]) for line in trackio_logs if key in line] == wanted
        assert tensorboard[key] == [(512 * step, pytest.approx(value, rel=1e-6)) for step, value in wanted]
    assert all(line["tokens"] == 512 * line["step"] for line in trackio_logs)
    assert [line["timestamp"] for line in trackio_logs] == sorted(line["timestamp"] for line in trackio_logs)


def test_one_run_through_kills(recipe: Path) -> None:
    """Both know more than the checkpoint when the run is killed, and trackio may know less: it writes twice a second."""
    words = (BOTH, "evaluation.tasks=[lmeff_synthetic]", "evaluation.limit=2", "model.max_position_embeddings=64")
    kill(recipe, *words, before_line=18)
    kill(recipe, *words, before_line=13)
    train(recipe, *words)
    run = run_folder(recipe)
    ((name, logs),) = in_trackio(recipe)
    assert name == "job-seed-1"
    (folder,) = (run / "tensorboard").iterdir()
    assert folder.name == "job-seed-1"
    events = in_tensorboard(folder)
    assert_whole(run, logs, events)
    results = {
        path.parent.name: json.loads(path.read_text()) for path in run.glob("results/seed-1-*/lmeff_synthetic.json")
    }
    content = [results[f"seed-1-tokens-{name}"] for name in ("0", "5k", "20k")]
    scores = [{**one["results"], **one.get("groups", {})}["lmeff_synthetic"]["acc,none"] for one in content]
    key = "scores/lmeff_synthetic/acc"
    assert [line[key] for line in logs if key in line] == scores
    assert events[key] == [(512 * step, pytest.approx(score)) for step, score in zip((0, 10, 40), scores, strict=True)]
    assert [value for _, value in events["step"]][-1] == 40


def test_every_part_is_a_run_and_the_recipe_names_them(recipe: Path) -> None:
    words = ("training.project=study", "training.run_name=warm", "seed=3")
    train(recipe, BOTH, *words, "anchors.mode=restart", "anchors.tokens=[5k,10k]")
    runs = dict(in_trackio(recipe, "study"))
    assert set(runs) == {"warm-seed-3-5k", "warm-seed-3-10k"}
    steps = {name: [line["step"] for line in logs if "train/loss" in line] for name, logs in runs.items()}
    assert steps == {"warm-seed-3-5k": list(range(1, 11)), "warm-seed-3-10k": list(range(1, 21))}
    folders = {path.name for path in recipe.parent.glob("outputs/job/seed-3/parts/*/tensorboard/*")}
    assert folders == set(runs)


def test_a_tracker_that_comes_later_knows_everything(recipe: Path) -> None:
    kill(recipe, before_line=18)
    train(recipe, BOTH)
    run = run_folder(recipe)
    ((_, logs),) = in_trackio(recipe)
    assert_whole(run, logs, in_tensorboard(run / "tensorboard" / "job-seed-1"))


def test_a_run_of_the_same_name_is_another_one(recipe: Path) -> None:
    """The folder was removed, and the run trained anew."""
    run = run_folder(recipe)
    kill(recipe, BOTH, before_line=18)
    shutil.rmtree(run)
    train(recipe, BOTH)
    runs = in_trackio(recipe)
    assert [name for name, _ in runs] == ["job-seed-1"] * 2
    lengths = [sum("train/loss" in line for line in logs) for _, logs in runs]
    assert max(lengths) == 40
    assert_whole(run, runs[lengths.index(40)][1], in_tensorboard(run / "tensorboard" / "job-seed-1"))


@pytest.mark.parametrize("broken", ["trackio", "tensorboard"])
def test_a_tracker_that_fails_ends_no_run(recipe: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is where its folder should be. The other tracker is told everything."""
    in_the_way = recipe.parent / broken
    in_the_way.write_text("in the way")
    if broken == "tensorboard":
        monkeypatch.setitem(EXTRA, "TENSORBOARD_LOGGING_DIR", str(in_the_way))
    said = train(recipe, BOTH)
    (line,) = [line for line in said.splitlines() if "training.report_to" in line]
    assert line.startswith(f"{broken} (training.report_to) is told nothing more of this run: ")
    assert str(in_the_way) in line
    assert "Traceback" not in said
    assert "Warning" not in said
    run = run_folder(recipe)
    assert json.loads((run / "state.json").read_text())["state"] == "complete"
    if broken == "trackio":
        told = in_tensorboard(run / "tensorboard" / "job-seed-1")["train/loss"]
        assert [tokens for tokens, _ in told] == [512 * step for step in range(1, 41)]
    else:
        ((_, logs),) = in_trackio(recipe)
        assert [line["step"] for line in logs if "train/loss" in line] == list(range(1, 41))


@dataclass
class Failing:
    """A tracker that fails at a line of the log, or before the first one."""

    fails_at: int
    closed: int = 0

    def begin(self, step: int) -> int:
        if self.fails_at == 0:
            raise OSError("no room")
        return -1

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.fails_at:
            raise OSError("no room")

    def close(self) -> None:
        self.closed += 1
        raise OSError("no room either")


@pytest.mark.parametrize("fails_at", [0, 2, 9])
def test_a_tracker_that_fails_is_closed_once(tmp_path: Path, capsys: pytest.CaptureFixture, fails_at: int) -> None:
    tracker = Failing(fails_at)
    plan = make_plan(read_recipe(write_recipe(tmp_path)).recipe)
    callback = TrackingCallback({"mine": tracker}, plan, tmp_path / "run.log.jsonl", tmp_path.joinpath, lambda path: {})
    callback.revision = lambda tokens: tmp_path / "none"
    callback.on_train_begin(None, TrainerState(), TrainerControl())
    for step in (1, 2, 3):
        callback._tell(step, {"train/loss": 1.0})
    assert tracker.closed == (0 if fails_at == 9 else 1)
    callback.close()
    assert tracker.closed == 1
    assert capsys.readouterr().err.count("is told nothing more of this run: no room") == 1
