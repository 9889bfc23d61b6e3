"""Launching real runs in tests, and stopping them on their way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import prepared
import psutil

ROOT = Path(__file__).resolve().parents[1]

STORIES = "\n".join(
    json.dumps(
        {"text": f"{name} had {count} {thing}. {name} lost one, and then there were {count - 1} of the {thing}."}
    )
    for name in ("Anna", "Ben", "Carla")
    for count in range(2, 28)
    for thing in ("cats", "dogs", "red apples", "small boats")
)

RECIPE = """
name: job
seed: 1
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, attention_dropout: 0.1}}
batch: {{tokens: 512, sequence_length: 32, micro: 4, log_samples: true}}
anchors: {{tokens: [0, 5000, 20k]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{warmup: 5 steps}}
training: {{logging_steps: 1}}
checkpoints: {{every_steps: 7, keep: 2}}
evaluation: {{dev_tokens: 5000}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
"""40 steps of a model with 20 thousand parameters, with accumulation and dropout, through the text nearly three times."""


def write_recipe(folder: Path) -> Path:
    """The recipe and its text."""
    (folder / "stories.jsonl").write_text(STORIES)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder))
    return path


def run_folder(recipe: Path, name: str = "job") -> Path:
    """Where a run of that recipe with `name=NAME` is."""
    return recipe.parent / "outputs" / name / "seed-1"


def environment() -> dict[str, str]:
    """The tests' environment, with the programs beside this Python first."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}"
    path = programs + os.environ["PATH"].removeprefix(programs)
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def start(
    launcher: str | None,
    *words: str,
    options: Sequence[str] = (),
    faults: Sequence[str] = (),
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    stderr: int = subprocess.STDOUT,
    popen: type[subprocess.Popen] | None = None,
) -> subprocess.Popen:
    """`accelerate launch --config_file launchers/LAUNCHER.yaml -m lmeff.run WORDS` in a process group of its own; a launcher
    may be a file too, and without one it is `python -m lmeff.run WORDS`. It has the `faults` of `training/faulty.py`.

    Without a launcher it is forked from a prepared parent. Launches are new processes where the launcher is looked at or
    signalled; elsewhere `popen` is `prepared.Popen`, which saves two thirds of their time.
    """
    command = [sys.executable]
    if popen is None:
        popen = subprocess.Popen if launcher else prepared.Popen
    if launcher:
        accelerate = str(Path(sys.executable).with_name("accelerate"))
        config = launcher if launcher.endswith(".yaml") else f"launchers/{launcher}.yaml"
        command = [accelerate, "launch", "--quiet", "--config_file", config, *options]
    program = [str(ROOT / "tests" / "training" / "faulty.py"), *faults, "--"] if faults else ["-m", "lmeff.run"]
    return popen(
        [*command, *program, *words],
        cwd=folder,
        env=environment() | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen, timeout: float = 300) -> tuple[int, str]:
    """Exit code, negative for a signal, and what it printed."""
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def finish(process: subprocess.Popen, timeout: float = 300) -> str:
    """What a run that must succeed printed."""
    code, output = ended(process, timeout)
    assert code == 0, output
    return output


def launch(launcher: str | None, *words: str, **options: Any) -> str:
    """What a run that must succeed printed. The processes of a launch are forked too: for tests that look at what it computed,
    neither at the launch itself nor at a process of it."""
    return finish(start(launcher, *words, popen=prepared.Popen, **options))


def train_here(words: Sequence[str]) -> int:
    """The exit code of `lmeff.run WORDS` in this very process. The process that writes its pages is forked: started anew, it
    takes longer than training does."""
    from lmeff import run

    with patch.object(subprocess, "Popen", prepared.Popen):
        return run.main(words)


def launch_in_turn(launcher: str, launches: Path, lines: Sequence[Sequence[str]]) -> tuple[list[int], str]:
    """Exit codes of several runs in one launch, and what they printed, by `training/in_turn.py`. `launches` is a file for the
    command lines."""
    launches.write_text(json.dumps(lines))
    accelerate, config = str(Path(sys.executable).with_name("accelerate")), f"launchers/{launcher}.yaml"
    program = str(ROOT / "tests" / "training" / "in_turn.py")
    done = prepared.run(
        [accelerate, "launch", "--quiet", "--config_file", config, program, str(launches)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    codes = launches.with_suffix(".codes")
    assert codes.exists(), done.stdout
    return json.loads(codes.read_text()), done.stdout


def wait_until(condition: Callable[[], bool], process: subprocess.Popen, timeout: float = 240) -> None:
    """Until the condition holds; fails when the process ends first."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def wait_until_stopped(process: subprocess.Popen) -> None:
    """Until a process of the run has stopped itself, by its fault `stop_once` or `stop_in_text`."""
    wait_until(lambda: any(is_stopped(one) for one in everyone_of(process)), process)


def is_stopped(one: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return one.status() == psutil.STATUS_STOPPED
    return False


def interrupt(process: subprocess.Popen, number: int = signal.SIGTERM) -> str:
    """Sends the signal to a run of one process that has stopped itself, lets it go on, and returns what it printed."""
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    return output


def everyone_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The process and all that it has started, and they."""
    first = psutil.Process(process.pid)
    return [first, *first.children(recursive=True)]


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """A launch's `python -m lmeff.run` processes, in the order of their ranks, which is that of their starts."""
    found = []
    for one in everyone_of(process):
        with suppress(psutil.NoSuchProcess):
            if "lmeff.run" in one.cmdline() and "launch" not in one.cmdline():
                found.append(one)
    return sorted(found, key=lambda one: (one.create_time(), one.pid))


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to all of the run at once, as when a node goes down."""
    for one in everyone_of(process):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()


def read_lines(path: Path) -> list[dict]:
    """A JSON lines file; empty when it is not there yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def curve(run: Path) -> list[tuple]:
    """What must be the same to the last bit after a restart: step, loss, gradient norm and learning rate, step by step."""
    return [
        (line["step"], line["loss"], line["grad_norm"], line["learning_rate"])
        for line in read_lines(run / "run.log.jsonl")
    ]


def weights(run: Path) -> dict[str, str]:
    """The sha256 that each revision's anchor.json gives."""
    return {
        path.parent.name: json.loads(path.read_text())["weights_sha256"] for path in run.glob("revisions/*/anchor.json")
    }


def newest_checkpoint(run: Path) -> Path:
    return max(run.glob("checkpoints/step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))


def state_of(run: Path) -> dict:
    return json.loads((run / "state.json").read_text())


def step_of(run: Path) -> int:
    """The last step in the run's log."""
    lines = read_lines(run / "run.log.jsonl")
    return lines[-1]["step"] if lines else 0
