"""Slurm templates as users have copied them from an older version go on with this one. `previous/` is slurm/ as it was when its
run_state.py still imported names of lmeff: it stays as it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT, environment, write_recipe
from slurm.jobs import NUM_STEPS, read_state, stop_in_the_middle, wait_for_signal

from lmeff.clock import Clock
from lmeff.formats.run_folder import RunFolder
from lmeff.runs.state import RunState

PREVIOUS = Path(__file__).with_name("previous")


@pytest.mark.medium
@pytest.mark.parametrize(
    "script", [[str(PREVIOUS / "run_state.py")], ["-m", "lmeff.runs"]], ids=["previous", "present"]
)
def test_what_scripts_are_told_of_a_run(tmp_path: Path, script: list[str]) -> None:
    def told(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, *script, *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    recipe = write_recipe(tmp_path)
    assert told(recipe) == (0, "new 0 0\n", "")
    run = RunFolder(tmp_path / "outputs" / "job" / "seed-1")
    state = RunState(run, Clock(512, 32), before=None)
    state.step = 7
    state.write("interrupted")
    for name in ("task.json", ".parts/part.json", "pairs/task.parquet"):
        path = run.results_of("seed-1-tokens-0") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert told(recipe) == (0, "interrupted 7 2\n", "")
    assert told(recipe, "name=other") == (0, "new 0 0\n", "")
    part = RunState(run.part("5k"), Clock(512, 32), before=None)
    part.step = 3
    part.write("running")
    assert told(recipe, "anchors.mode=restart", "anchors.tokens=[5k,20k]", "--index", "0") == (0, "running 3 2\n", "")
    code, out, error = told(recipe, "batch.tokens=none", "optimizer.nam=adamw")
    assert (code, out) == (2, "")
    assert len(error.splitlines()) == 2


@pytest.mark.slow
def test_a_job_of_the_previous_templates(slurm, folder: Path) -> None:
    """Asked to stop in its middle, it is queued again by its own script, which asks run_state.py."""
    there = folder / "copied"
    shutil.copytree(PREVIOUS, there / "slurm")
    launcher = str(ROOT / "launchers" / "cpu.yaml")
    words = (folder / "two.yaml", f"paths.outputs={folder}/previous")
    output = f"--output={slurm.folder}/%A_%a.out"
    job = slurm.call(
        *("sbatch", "--parsable", output, f"--chdir={there}", there / "slurm" / "train_array.sbatch", *words),
        LMEFF_LAUNCHER=launcher,
    ).strip()
    run = folder / "previous" / "two" / "seed-0"
    pid = stop_in_the_middle(run)
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    wait_for_signal(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGCONT)
    assert slurm.wait(job)["Restarts"] == "1"
    assert f"queueing {job} again" in slurm.said(job)
    assert (read_state(run)["state"], read_state(run)["step"]) == ("complete", NUM_STEPS)
    scored = slurm.call("sbatch", "--parsable", output, f"--chdir={there}", there / "slurm" / "eval_array.sbatch", run)
    slurm.wait(scored.strip(), "FAILED")  # the script is found, and the recipe names no tasks
    assert "--tasks" in slurm.said(scored.strip())
    assert json.loads((run / "state.json").read_text())["state"] == "complete"
