"""Faults that are made to happen: a process that dies between any two writes, a full disk, a loss that is not a number."""

import json
import os
import subprocess
from pathlib import Path

import prepared
import pytest
from launching import (
    curve,
    finish,
    read_lines,
    run_folder,
    start,
    state_of,
    weights,
    write_recipe,
)

from lmeff.formats.manifest import manifest_differences
from lmeff.revisions import differences

pytestmark = pytest.mark.slow


def run_faulty(fault: str, *words: str, launcher: str | None = None) -> subprocess.CompletedProcess:
    process = start(launcher, *words, faults=[fault], stderr=subprocess.PIPE, popen=prepared.Popen)
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def plain(recipe: Path) -> Path:
    finish(start(None, str(recipe), "name=plain"))
    return run_folder(recipe, "plain")


def test_killed_between_any_two_writes(recipe: Path, plain: Path) -> None:
    """F4: one run, killed again and again at another write: of logs, states, revisions, manifests, checkpoints, renames."""
    words = (str(recipe), "name=writes")
    died = 0
    for count in (7, 12, 16, 23, 30, 37, 41, 46, 53, 61):
        answer = run_faulty(f"kill_at_write:{count}", *words)
        if answer.returncode == 0:
            break
        assert answer.returncode == -9, answer.stderr
        died += 1
        run = run_folder(recipe, "writes")
        whole = [folder for folder in (run / "revisions").glob("seed-*") if not differences(folder)]
        assert whole == list((run / "revisions").glob("seed-*")), "a revision is whole or not there"
    assert died >= 7
    finish(start(None, *words))
    run = run_folder(recipe, "writes")
    assert curve(run) == curve(plain)
    assert weights(run) == weights(plain)
    assert not [path for path in run.rglob("*.tmp") if path.parent.name in ("revisions", "checkpoints")]


def test_killed_in_the_middle_of_a_weights_file(recipe: Path, plain: Path) -> None:
    """F4: the anchor's, the checkpoint's weights and the checkpoint's optimizer; nothing half-written is ever read."""
    run, words = run_folder(recipe, "weights"), (str(recipe), "name=weights")
    for count in (1, 2, 3, 5):
        answer = run_faulty(f"kill_in_weights:{count}", *words)
        assert answer.returncode == -9, answer.stderr
        assert not any(differences(folder) for folder in run.glob("revisions/seed-*"))
        assert not any(
            manifest_differences(folder, exclude=("manifest.json",)) for folder in run.glob("checkpoints/step-*")
        )
    finish(start(None, *words))
    assert curve(run) == curve(plain)
    assert weights(run) == weights(plain)


def test_out_of_memory_halves_the_micro_batch(recipe: Path) -> None:
    """F15: the global batch stays, and the curve is that of a run with the smaller micro-batch from the start."""
    answer = run_faulty("out_of_memory:4", str(recipe), "name=memory", "batch.micro=auto")
    run = run_folder(recipe, "memory")
    assert answer.returncode == 0, answer.stderr
    assert "16 sequences at a time do not fit the GPU; going on with 8" in answer.stdout
    assert "4 sequences at a time do not fit the GPU; going on with 2" in answer.stdout
    plan = json.loads((run / "plan.json").read_text())
    assert (plan["micro_batch"], plan["accumulation"]) == (2, 8)
    finish(start(None, str(recipe), "name=two", "batch.micro=2"))
    assert curve(run) == curve(run_folder(recipe, "two"))
    assert weights(run) == weights(run_folder(recipe, "two"))


def test_out_of_memory_with_a_given_micro_batch(recipe: Path) -> None:
    """F15: one line that says what to set, also beside others; no wait for a process that is gone."""
    for launcher in (None, "cpu_ddp"):
        answer = run_faulty("out_of_memory:4", str(recipe), f"name=given_{launcher}", launcher=launcher)
        assert answer.returncode != 0
        said = "4 sequences at a time do not fit the GPU: CUDA out of memory. Tried to allocate 20.00 MiB.; set batch.micro=2"
        assert answer.stderr.count(said) == 1, answer.stderr
        assert said in state_of(run_folder(recipe, f"given_{launcher}"))["error"]


def test_a_nan_stops_the_run_and_names_its_step(recipe: Path) -> None:
    """F14: also when only one of two processes sees it. The checkpoint before it is kept, and no anchor after it exists."""
    answer = run_faulty("nan_at_step:9", str(recipe), "name=stop", launcher="cpu_ddp")
    run = run_folder(recipe, "stop")
    assert answer.returncode != 0
    said = "the loss or the gradient of step 9 is not finite (tokens 4,096 to 4,608, sequences "
    assert answer.stderr.count(said) == 1, answer.stderr
    assert state_of(run)["state"] == "failed"
    assert said in state_of(run)["error"]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-7"]
    assert [path.name for path in (run / "revisions").iterdir()] == ["seed-1-tokens-0"]


@pytest.mark.parametrize("launcher", [None, "cpu_ddp", "cpu_zero1", "cpu_zero3"])
def test_a_nan_is_left_out_and_counted(recipe: Path, plain: Path, launcher: str | None) -> None:
    """The run goes on with finite weights, says how many steps it left out, and keeps the rates of the others."""
    name = f"skip_{launcher}"
    answer = run_faulty("nan_at_step:9", str(recipe), f"name={name}", "optimizer.nonfinite=skip", launcher=launcher)
    run = run_folder(recipe, name)
    assert answer.returncode == 0, answer.stderr
    lines = read_lines(run / "run.log.jsonl")
    assert [line["num_skipped_steps"] for line in lines] == [0] * 8 + [1] * 32
    assert [line["step"] for line in lines if line["loss"] is None] == [9]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    anchor = json.loads((run / "revisions" / "seed-1-tokens-20k" / "anchor.json").read_text())
    assert (anchor["num_skipped_steps"], anchor["exact_tokens"]) == (1, 20_480)
    rates = [line[3] for line in curve(plain)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(rates, rel=1e-12)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1.2 MB, where two checkpoints of half a megabyte find room beside the rest, and a third does not."""
    if os.geteuid():
        reason = "only root can mount a small file system"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(recipe: Path, plain: Path, small_disk: Path) -> None:
    """F6: a warning before the first step, then one line, and the checkpoint before still loads."""
    words = (str(recipe), "name=full", f"paths.outputs={small_disk}", "anchors.tokens=[20k]")
    process = start(None, *words)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "this run may need" in said
    assert "the disk is full; make room, and the same command goes on from the newest checkpoint" in said
    assert "Traceback" not in said
    run = small_disk / "full" / "seed-1"
    kept = list((run / "checkpoints").glob("step-*"))
    assert kept
    assert all(not manifest_differences(folder, exclude=("manifest.json",)) for folder in kept)
    assert not list((run / "checkpoints").glob(".*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert "going on from" in finish(start(None, *words))
    assert curve(run) == curve(plain)
