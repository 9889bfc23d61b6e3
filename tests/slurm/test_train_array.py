"""slurm/train_array.sbatch and eval_array.sbatch in a real Slurm: arrays, interruptions and mistakes.

A run counts as unharmed when its final weights are, bit for bit, those of a run that nobody disturbed. To interrupt a short run
surely in its middle, its process is stopped after a few steps; a signal that it got meanwhile reaches it when it goes on.
"""

import json
import os
import signal
from pathlib import Path

import pytest
from slurm.jobs import NUM_STEPS, read_state, read_weights, stop_in_the_middle, wait_for_signal

from lmeff.clock import Clock
from lmeff.formats.run_folder import RunFolder
from lmeff.runs.state import RunState

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def array(slurm, folder: Path) -> str:
    """The number of an array that trained both recipes."""
    array = slurm.submit("--array=0-1", folder / "one.yaml", folder / "two.yaml")
    for task in (0, 1):
        slurm.wait(f"{array}_{task}")
    return array


@pytest.fixture(scope="module")
def undisturbed(array: str, folder: Path) -> str:
    """The sha256 of the weights of recipe `one`."""
    return read_weights(folder / "outputs" / "one" / "seed-0")


@pytest.fixture(scope="module")
def stuck(slurm, folder: Path) -> str:
    """The number of a job whose run was interrupted, and gets to no further step: its launcher does not start."""
    state = RunState(RunFolder(folder / "stuck" / "one" / "seed-0"), clock=Clock(128, 32), before=None)
    state.folder.path.mkdir(parents=True)
    state.step = 7
    state.write("interrupted")
    words = (folder / "one.yaml", f"paths.outputs={folder}/stuck")
    return slurm.submit("", *words, LMEFF_LAUNCHER="launchers/none.yaml")


def test_an_array_of_two_runs(slurm, array: str, folder: Path) -> None:
    for task, name in enumerate(("one", "two")):
        state = read_state(folder / "outputs" / name / "seed-0")
        assert (state["state"], state["step"], state["job"]) == ("complete", NUM_STEPS, f"{array}_{task}")
        assert slurm.job(f"{array}_{task}")["Restarts"] == "0"
        assert "Traceback" not in slurm.said(f"{array}_{task}")


def test_a_complete_run_is_left_alone(slurm, array: str, folder: Path) -> None:
    job = slurm.submit("", folder / "one.yaml")
    slurm.wait(job)
    assert "nothing to do" in slurm.said(job)


def test_a_run_that_is_queued_again_in_its_middle(slurm, undisturbed: str, folder: Path) -> None:
    """F8: as Slurm does by `scontrol requeue` and at preemption: TERM to all processes of all steps."""
    array = slurm.submit("--array=0", folder / "one.yaml", f"paths.outputs={folder}/requeued")
    run = folder / "requeued" / "one" / "seed-0"
    stop_in_the_middle(run)
    slurm.call("scontrol", "requeue", f"{array}_0")  # which also lets a stopped process go on
    job = slurm.wait(f"{array}_0")
    assert job["Restarts"] == "1", "by Slurm, and not once more by the script"
    assert "interrupted at step" in slurm.said(f"{array}_0")
    assert read_state(run)["state"] == "complete"
    assert read_weights(run) == undisturbed


def test_a_cancelled_run_stays_cancelled(slurm, array: str, folder: Path) -> None:
    """It saves what it has, and is not queued again."""
    job = slurm.submit("", folder / "one.yaml", f"paths.outputs={folder}/cancelled")
    run = folder / "cancelled" / "one" / "seed-0"
    stop_in_the_middle(run)
    slurm.call("scancel", job)
    assert slurm.wait(job, "CANCELLED")["Restarts"] == "0"
    state = read_state(run)
    assert state["state"] == "interrupted"
    assert (run / "checkpoints" / f"step-{state['step']}").is_dir()


@pytest.mark.usefixtures("stuck")  # which takes its time meanwhile
def test_a_time_limit_of_one_minute(slurm, undisturbed: str, folder: Path) -> None:
    """F8: `--signal=B:USR1@N`. Slurm looks at the clock twice a minute, and may signal a minute early."""
    options = "--array=0 --time=1 --signal=B:USR1@20"
    words = (folder / "one.yaml", f"paths.outputs={folder}/limited")
    array = slurm.submit(options, *words, LMEFF_STARTS="9")
    run = folder / "limited" / "one" / "seed-0"
    pid = stop_in_the_middle(run)
    wait_for_signal(pid, signal.SIGUSR1)
    # The next start has time: on a busy machine several could be signaled before their first step, and the job be given up.
    slurm.call("scontrol", "update", f"JobId={array}_0", "TimeLimit=10")
    os.kill(pid, signal.SIGCONT)
    job = slurm.wait(f"{array}_0")
    assert int(job["Restarts"]) >= 1
    assert f"queueing {array}_0 again" in slurm.said(f"{array}_0")
    assert read_state(run)["state"] == "complete"
    assert read_weights(run) == undisturbed


def test_a_run_without_progress_is_given_up(slurm, stuck: str) -> None:
    ended = slurm.wait(stuck, "FAILED")
    assert (ended["ExitCode"], ended["Restarts"]) == ("75:0", "2")
    assert "interrupted at step 7, where start 3 began; not queued again" in slurm.said(stuck)


def test_two_nodes_preempted_with_grace(slurm, array: str, folder: Path) -> None:
    """Where a partition has a grace time, Slurm signals the steps alone, and leaves the job to end and queue itself again."""
    words = (folder / "two.yaml", f"paths.outputs={folder}/preempted")
    job = slurm.submit("--nodes=2 --partition=grace", *words, LMEFF_LAUNCHER="launchers/cpu_ddp.yaml")
    run = folder / "preempted" / "two" / "seed-0"
    stop_in_the_middle(run)
    slurm.call("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    assert slurm.wait(job)["Restarts"] == "1"
    assert f"queueing {job} again" in slurm.said(job)
    assert read_state(run)["state"] == "complete"
    anchor = json.loads((run / "revisions" / "seed-0" / "anchor.json").read_text())
    assert (anchor["step"], anchor["world_size"]) == (NUM_STEPS, 2)


def test_a_wrong_recipe_fails_once(slurm, folder: Path) -> None:
    """One that cannot be read, and one that fails when it runs."""
    (folder / "unknown_key.yaml").write_text((folder / "one.yaml").read_text() + "colour: red\n")
    (folder / "no_text.yaml").write_text(
        (folder / "one.yaml").read_text().replace("stories.jsonl", "gone.jsonl").replace("name: one", "name: no_text")
    )
    array = slurm.submit("--array=0-1", folder / "unknown_key.yaml", folder / "no_text.yaml")
    for task, code, said in ((0, "2:0", "colour"), (1, "1:0", "gone.jsonl")):
        job = slurm.wait(f"{array}_{task}", "FAILED")
        assert (job["ExitCode"], job["Restarts"]) == (code, "0")
        assert said in slurm.said(f"{array}_{task}")
        assert "Traceback" not in slurm.said(f"{array}_{task}")
    assert read_state(folder / "outputs" / "no_text" / "seed-0")["state"] == "failed"


def test_runs_are_scored_by_an_array_of_their_own(slurm, array: str, folder: Path) -> None:
    runs = [folder / "outputs" / name / "seed-0" for name in ("one", "two")]
    (folder / "pairs").mkdir()
    (folder / "pairs" / "own.jsonl").write_text('{"sentence_good": "A dog ran.", "sentence_bad": "A dog run."}\n')
    words = ("--tasks", task := "lmeff_pairs", "--path", f"pairs={folder}/pairs")
    jobs = slurm.submit("--array=0-2", *runs, *words, script="eval_array")
    for number, run in enumerate(runs):
        slurm.wait(f"{jobs}_{number}")
        scored = sorted(path.parent.name for path in run.glob(f"results/*/{task}.json"))
        assert scored == ["seed-0-tokens-0", "seed-0-tokens-2k", "seed-0-tokens-5120"]
    slurm.wait(f"{jobs}_2", "FAILED")
    assert "task 2, but 2 run folders" in slurm.said(f"{jobs}_2")
    alone = slurm.submit("", *runs, *words, script="eval_array")
    slurm.wait(alone, "FAILED")
    assert "2 run folders, but no array; give --array=0-1" in slurm.said(alone)
