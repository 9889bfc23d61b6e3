"""A run that is killed, asked to stop, or moved to other processes goes on as if nothing had been."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import prepared
import psutil
import pytest
from launching import (
    curve,
    finish,
    interrupt,
    kill,
    launch,
    newest_checkpoint,
    read_lines,
    run_folder,
    start,
    state_of,
    step_of,
    wait_until,
    wait_until_stopped,
    weights,
    workers,
    write_recipe,
)

from lmeff.formats.manifest import manifest_differences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def plain(recipe: Path) -> Path:
    """The undisturbed run of one process."""
    finish(start(None, str(recipe), "name=plain"))
    return run_folder(recipe, "plain")


def killed_after(launcher: str | None, recipe: Path, name: str, step: int, *words: str) -> None:
    """Runs until a checkpoint of that step is whole, and kills everything."""
    manifest = run_folder(recipe, name) / "checkpoints" / f"step-{step}" / "manifest.json"
    faults = [f"stop_once:{manifest}"]
    process = start(launcher, str(recipe), f"name={name}", *words, faults=faults, popen=prepared.Popen)
    wait_until_stopped(process)
    assert manifest.exists()
    kill(process)
    assert not (run_folder(recipe, name) / "revisions" / "seed-1").exists()


def assert_same(run: Path, reference: Path) -> None:
    assert curve(run) == curve(reference)
    assert weights(run) == weights(reference)
    assert read_lines(run / "samples.jsonl") == read_lines(reference / "samples.jsonl")


def test_killed_in_every_epoch_and_three_times_in_one(recipe: Path, plain: Path) -> None:
    """F1, F2, F3: per-step losses, sample ids and the final weights' sha256 are those of the undisturbed run."""
    epochs = [line["epoch"] for line in read_lines(plain / "run.log.jsonl")]
    assert [int(epochs[step]) for step in (7, 21, 35)] == [0, 1, 2]
    for step in (7, 14, 21, 35):
        killed_after(None, recipe, "killed", step)
    assert "going on from" in finish(start(None, str(recipe), "name=killed"))
    assert_same(run_folder(recipe, "killed"), plain)


def test_killed_on_an_anchor_step(recipe: Path, plain: Path) -> None:
    """F19: the anchor at step 10 is written once more after the restart from step 9, and is the same."""
    words = ("checkpoints.every_steps=9",)
    run = run_folder(recipe, "anchor")
    faults = [f"stop_once:{run / 'revisions' / 'seed-1-tokens-5k' / 'manifest.json'}"]
    process = start(None, str(recipe), "name=anchor", *words, faults=faults)
    wait_until_stopped(process)
    kill(process)
    finish(start(None, str(recipe), "name=anchor", *words))
    assert_same(run, plain)
    assert len(list((run / "revisions").iterdir())) == 4


@pytest.mark.parametrize("launcher", ["cpu_ddp", "cpu_zero1", "cpu_zero2", "cpu_zero3"])
def test_killed_under_every_engine(recipe: Path, launcher: str) -> None:
    launch(launcher, str(recipe), f"name={launcher}")
    killed_after(launcher, recipe, f"{launcher}_killed", 14)
    launch(launcher, str(recipe), f"name={launcher}_killed")
    assert_same(run_folder(recipe, f"{launcher}_killed"), run_folder(recipe, launcher))


STOPS = (
    # launcher, signal, who gets it: a rank, the launcher itself, or the whole process group
    ("cpu_ddp", signal.SIGTERM, 1),
    ("cpu_zero2", signal.SIGUSR1, 0),
    ("cpu_zero3", signal.SIGKILL, "launcher"),
    ("cpu_zero1", signal.SIGINT, 1),
    ("cpu_ddp", signal.SIGTERM, "group"),
    ("cpu", signal.SIGTERM, "launcher"),
)


def test_stopped_and_moved_through_all_engines(recipe: Path) -> None:
    """F7, F11: one run of 50 steps, each time stopped by another signal and continued by another engine and number of
    processes. It reads what the undisturbed run of one process reads, and its losses are the same but for rounding."""
    fifty = (str(recipe), "anchors.tokens=[0,25600]", "corpus.epochs=9")
    finish(start(None, *fifty, "name=fifty"))
    plain, run = run_folder(recipe, "fifty"), run_folder(recipe, "moved")
    words = (*fifty, "name=moved", "checkpoints.every_steps=1000")
    for launcher, number, who in STOPS:
        is_launch_hit = who in ("launcher", "group")
        process = start(launcher, *words, popen=subprocess.Popen if is_launch_hit else prepared.Popen)
        target = step_of(run) + 5
        wait_until(lambda target=target: step_of(run) >= target, process)
        everyone = workers(process)
        if who == "group":
            os.killpg(process.pid, number)
        else:
            (psutil.Process(process.pid) if who == "launcher" else everyone[who]).send_signal(number)
        _, alive = psutil.wait_procs(everyone, timeout=60)
        assert not alive, f"{launcher}: left behind after {number!r} to {who}"
        output, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert state_of(run)["state"] == "interrupted", output
        assert (run / "checkpoints" / f"step-{state_of(run)['step']}" / "manifest.json").exists()
    own = json.loads((newest_checkpoint(run) / "lmeff.json").read_text())
    assert (own["engine"], own["world_size"]) == ("plain", 1)
    finish(start(None, *words))
    assert read_lines(run / "samples.jsonl") == read_lines(plain / "samples.jsonl")
    assert len(curve(plain)) == 50
    for ours, theirs in zip(curve(run), curve(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_another_micro_batch_reads_and_drops_the_same(recipe: Path, plain: Path) -> None:
    """The sequences of a step and their dropout masks do not depend on how the step is divided."""
    finish(start(None, str(recipe), "name=micro", "batch.micro=16"))
    run = run_folder(recipe, "micro")
    assert read_lines(run / "samples.jsonl") == read_lines(plain / "samples.jsonl")
    for ours, theirs in zip(curve(run), curve(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_stopped_while_it_scores(recipe: Path) -> None:
    """F7: the evaluation is left, a checkpoint is made of the step, and the next launch scores what is missing."""
    words = (str(recipe), "name=scoring", "evaluation.tasks=[lmeff_synthetic]", "evaluation.limit=40")
    words = (*words, "evaluation.batch_size=2", "anchors.tokens=[5k,20k]", "model.max_position_embeddings=64")
    run = run_folder(recipe, "scoring")
    for anchor, step in (("5k", 10), ("20k", 40)):
        parts = run / "results" / f"seed-1-tokens-{anchor}" / ".parts"
        process = start(None, *words, faults=[f"stop_once:{parts}"])
        wait_until_stopped(process)
        output = interrupt(process, signal.SIGUSR1)
        assert (process.returncode, state_of(run)["state"], state_of(run)["step"]) == (75, "interrupted", step), output
        assert not (run / "results" / f"seed-1-tokens-{anchor}" / "lmeff_synthetic.json").exists()
    finish(start(None, *words))
    assert (run / "results" / "seed-1-tokens-5k" / "lmeff_synthetic.json").exists()
    assert (run / "results" / "seed-1-tokens-20k" / "lmeff_synthetic.json").exists()
    assert [line["step"] for line in read_lines(run / "run.log.jsonl")] == list(range(1, 41))


def test_a_second_signal_during_the_save(recipe: Path, plain: Path) -> None:
    """F9: the old checkpoint or the new one is whole, and the run goes on to the same end."""
    run = run_folder(recipe, "twice")
    process = start(None, str(recipe), "name=twice", "checkpoints.every_steps=1")
    wait_until(lambda: step_of(run) >= 8, process)
    for _ in range(4):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.03)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert state_of(run)["state"] == "interrupted"
    assert not manifest_differences(newest_checkpoint(run), exclude=("manifest.json",))
    finish(start(None, str(recipe), "name=twice", "checkpoints.every_steps=1"))
    assert curve(run) == curve(plain)
    assert weights(run) == weights(plain)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        content[:middle] if how == "cut" else content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    )


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(recipe: Path, plain: Path, how: str) -> None:
    """F4, F5."""
    run = run_folder(recipe, how)
    killed_after(None, recipe, how, 21)
    newest = newest_checkpoint(run)
    damage(newest / "optimizer.safetensors", how)
    output = finish(start(None, str(recipe), f"name={how}"))
    assert f"{newest} is damaged and left aside" in output
    assert "going on from" in output
    assert_same(run, plain)


def test_changes_are_refused_and_recorded_when_accepted(recipe: Path) -> None:
    """F12, F13."""
    run = run_folder(recipe, "changed")
    killed_after(None, recipe, "changed", 14)
    words = (str(recipe), "name=changed")
    process = start(None, *words, "optimizer.learning_rate=1e-3")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        "optimizer.learning_rate was 0.003, is now 0.001; give this run another name (name=...), or go on with"
        in output
    )
    process = start(None, *words, "batch.tokens=1024", "--accept-changes")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "batch.tokens was 512, is now 1024; a run cannot go on with another one" in output

    stories = recipe.parent / "stories.jsonl"
    before = stories.read_text()
    stories.write_text(before.replace("small boats", "small boots"))
    process = start(None, *words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "training tokens were" in output
    finish(start(None, *words, "optimizer.learning_rate=1e-3", "--accept-changes"))
    stories.write_text(before)
    recorded = json.loads((run / "revisions" / "seed-1" / "provenance.json").read_text())["accepted_changes"]
    assert all(entry["step"] >= 14 for entry in recorded)
    changes = [change for entry in recorded for change in entry["changes"]]
    assert len(changes) == 2
    assert changes[0] == "optimizer.learning_rate was 0.003, is now 0.001"
    assert changes[1].startswith("training tokens were ")
    assert curve(run)[-1][3] < 1e-3


def test_a_log_of_every_fifth_step_does_not_show_where_a_run_was_stopped(recipe: Path) -> None:
    words = (str(recipe), "training.logging_steps=5", "checkpoints.every_steps=1000", "anchors.tokens=[8704,20k]")
    finish(start(None, *words, "name=fifth"))
    run = run_folder(recipe, "fifth_stopped")
    anchor = run / "revisions" / "seed-1-tokens-8704"
    process = start(None, *words, "name=fifth_stopped", faults=[f"stop_once:{anchor}"])
    wait_until_stopped(process)
    interrupt(process)
    assert (process.returncode, state_of(run)["step"]) == (75, 17)
    finish(start(None, *words, "name=fifth_stopped"))
    assert curve(run) == curve(run_folder(recipe, "fifth"))
    assert [line[0] for line in curve(run)] == list(range(5, 41, 5))


def test_two_launches_do_not_work_on_one_run(recipe: Path) -> None:
    """F10: the second is refused while the first lives, and takes over when it is dead."""
    run = run_folder(recipe, "two")
    first = start(None, str(recipe), "name=two", "anchors.tokens=[0,5k,5M]", "corpus.epochs=999")
    wait_until(lambda: step_of(run) > 0, first)
    words = (str(recipe), "name=two", "anchors.tokens=[0,5k,5M]", "corpus.epochs=999")
    second = start("cpu_ddp", *words, popen=prepared.Popen)
    output, _ = second.communicate(timeout=120)
    assert second.returncode != 0
    assert f"is being worked on by process {first.pid} on " in output
    assert first.poll() is None
    assert state_of(run)["state"] == "running"
    assert state_of(run)["pid"] == first.pid
    kill(first)
    process = start(None, str(recipe), "name=two", "anchors.tokens=[0,5k,5M]", "corpus.epochs=999")
    wait_until(lambda: state_of(run)["pid"] == process.pid, process)
    kill(process)


def test_other_clock_and_locale_and_no_use_of_the_hub(
    recipe: Path, plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """F25; whoever asks the Hub for something meets a closed door, and nothing is written where its cache would be."""
    home = tmp_path / "hf"
    variables = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    finish(start(None, str(recipe), "name=elsewhere"))
    assert_same(run_folder(recipe, "elsewhere"), plain)
    assert not home.exists()


def test_a_rank_that_dies_ends_the_others(recipe: Path) -> None:
    """F24: no rank is left waiting for it."""
    words = ("name=rank", "anchors.tokens=[40k]", "corpus.epochs=9")
    process = start("cpu_ddp", str(recipe), *words, popen=prepared.Popen)
    wait_until(lambda: step_of(run_folder(recipe, "rank")) > 2, process)
    everyone = workers(process)
    everyone[1].kill()
    process.communicate(timeout=60)
    assert not psutil.wait_procs(everyone, timeout=60)[1]
    assert process.returncode != 0


def test_a_copy_of_a_run_with_half_a_line_in_its_log_goes_on_too(recipe: Path, plain: Path) -> None:
    """F26: nothing in a run folder names its own place, and what a killed writer left is dropped."""
    killed_after(None, recipe, "copied", 14)
    copy = recipe.parent / "elsewhere" / "copied" / "seed-1"
    shutil.copytree(run_folder(recipe, "copied"), copy)
    log = copy / "run.log.jsonl"
    log.write_text(log.read_text() + '{"step": 99, "lo')
    words = (str(recipe), "name=copied", f"paths.outputs={recipe.parent}/elsewhere")
    assert "going on from" in finish(start(None, *words))
    assert_same(copy, plain)
