"""`lmeff train`: the exit codes are the run's own, and a signal to it reaches the processes that train."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from launching import ROOT, environment, finish, run_folder, state_of, step_of, wait_until, weights, write_recipe

from lmeff.cli import accelerate_launch as launch

pytestmark = pytest.mark.slow


def start_train(*words: str, folder: Path = ROOT) -> subprocess.Popen:
    """`lmeff train WORDS` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lmeff.cli", "train", *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.mark.parametrize(("launcher", "number"), [("cpu", signal.SIGINT), ("cpu_ddp", signal.SIGTERM)])
def test_a_signal_to_it_ends_with_a_checkpoint_and_75_and_the_same_command_goes_on(
    tmp_path: Path, launcher: str, number: signal.Signals
) -> None:
    recipe = write_recipe(tmp_path)
    words = (str(recipe), "--launcher", launcher)
    whole = finish(start_train(*words, "name=whole"))
    assert "open it in a browser: " + str(run_folder(recipe, "whole") / "report.html") in whole
    process = start_train(*words)
    run = run_folder(recipe)
    wait_until(lambda: step_of(run) >= 5, process)
    os.kill(process.pid, number)  # to the launcher alone
    code, output = ended(process)
    assert code == 75, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert state_of(run)["state"] == "interrupted"
    assert state_of(run)["step"] < 40
    again = finish(start_train(*words))
    assert "going on from" in again
    assert weights(run) == weights(run_folder(recipe, "whole"))


def test_killed_it_takes_its_processes_with_it(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    process = start_train(str(recipe), "--launcher", "cpu")
    run = run_folder(recipe)
    wait_until(lambda: step_of(run) >= 3, process)
    (trainer,) = (one for one in psutil.Process(process.pid).children() if "lmeff.run" in one.cmdline())
    process.kill()
    process.communicate(timeout=60)
    trainer.wait(timeout=60)
    assert state_of(run)["state"] == "interrupted"


@pytest.mark.parametrize("launcher", ["cpu", "cpu_ddp"])
def test_failures_have_the_exit_codes_of_the_run_and_one_line(tmp_path: Path, launcher: str) -> None:
    recipe = write_recipe(tmp_path)
    code, output = ended(start_train(str(recipe), "--launcher", launcher, "corpus.epochs=1"))
    assert code == 2, output  # found only when the text is there: too few tokens for the last anchor
    lines = [line for line in output.splitlines() if "epochs" in line]
    assert len(lines) == 1
    assert "Traceback" not in output
    assert "exitcode" not in output
    assert state_of(run_folder(recipe))["state"] == "failed"
    if launcher == "cpu":
        code, output = ended(start_train(str(recipe), "--launcher", launcher, "optimizer.learning_rate=1e30"))
        assert code == 1, output
        assert "Traceback" not in output
        assert state_of(run_folder(recipe))["state"] == "failed"


def test_a_wrong_recipe_is_told_without_torch(tmp_path: Path) -> None:
    code = "import sys; from lmeff.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules, code)"
    for words in (
        ["quickstart", "batch.tokens=big"],
        ["quickstrat"],
        ["quickstart", "--launcher", "zero9"],
        ["quickstart", "--launcher", "multi_node"],
    ):
        command = [sys.executable, "-c", code, "train", *words]
        answer = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert answer.stdout == "False 2\n"
        assert len(answer.stderr.splitlines()) == 1


def test_a_run_that_is_complete_says_so(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = (str(recipe), "--launcher", "cpu", "anchors.tokens=[0,1k]", "schedule.warmup=1 steps")
    finish(start_train(*words))
    assert "nothing to do" in finish(start_train(*words))


def test_a_process_that_ends_meanwhile_keeps_no_signal_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    ended_one, other = (subprocess.Popen(command) for _ in range(2))
    found = [one.pid for one in (ended_one, other)]
    ended_one.kill()
    ended_one.wait()
    monkeypatch.setattr(launch, "_trainers", lambda: found)
    with launch._passing_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            assert other.wait(timeout=20) == -signal.SIGTERM
        finally:
            other.kill()
            other.wait()
        assert stop.is_set()
