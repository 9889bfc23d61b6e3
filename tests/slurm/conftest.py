import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from launching import STORIES
from slurm.jobs import NUM_STEPS, RECIPE

ROOT = Path(__file__).resolve().parents[2]
ONE_NODE = Path(__file__).with_name("one_node.sh")
FIRST_PORT = 16810  # as there


@dataclass
class Slurm:
    """A Slurm that runs; jobs are submitted from the project's root, as slurm/README.md says."""

    folder: Path

    def call(self, *command: str | Path, **variables: str) -> str:
        """What a Slurm command prints."""
        environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "LMEFF_VENV": sys.prefix,
            "LMEFF_LAUNCHER": "launchers/cpu.yaml",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, options: str, *words: str | Path, script: str = "train_array", **variables: str) -> str:
        """The number of the new job, which runs slurm/SCRIPT.sbatch."""
        output = f"--output={self.folder}/%A_%a.out"
        command = ["sbatch", "--parsable", output, *options.split(), f"slurm/{script}.sbatch", *words]
        return self.call(*command, **variables).strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, or of `JOB_TASK` in an array."""
        words = self.call("scontrol", "show", "job", "--oneliner", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def said(self, number: str) -> str:
        """What all starts of a job have printed."""
        return Path(self.job(number)["StdOut"]).read_text()

    def wait(self, number: str, wanted: str = "COMPLETED", timeout_seconds: float = 300) -> dict[str, str]:
        """Waits until the job has ended for good, in the state that is wanted."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.job(number))["JobState"] not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
            assert time.monotonic() < deadline, f"{job['JobState']}\n{self.said(number)}"
            time.sleep(0.5)
        assert job["JobState"] == wanted, self.said(number)
        return job


@contextmanager
def number_of_its_own() -> Iterator[int]:
    """The number of a Slurm (see one_node.sh) that no other process of tests on this machine has, and whose ports are free."""
    for number in range(50):
        with (Path(tempfile.gettempdir()) / f"lmeff-slurm-{number}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if all(is_free(FIRST_PORT + 10 * number + place) for place in range(3)):
                yield number
                return
    pytest.fail("no ports are free for a Slurm; are some left behind? pgrep slurmctld")


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Every process of pytest-xdist has one."""
    # Not pytest's own folder: the path of a socket has to be short.
    named = tempfile.TemporaryDirectory(prefix="lmeff-slurm-", ignore_cleanup_errors=True)
    with number_of_its_own() as number, named as folder:
        command = ["bash", str(ONE_NODE), "start", folder, str(number)]
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        if started.returncode == 3:
            if os.environ.get("CI"):
                pytest.fail(started.stderr)
            pytest.skip(started.stderr.strip())
        try:
            assert started.returncode == 0, started.stderr
            yield Slurm(Path(folder))
        finally:
            subprocess.run(["bash", ONE_NODE, "stop", folder], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes `one` and `two`, and their text."""
    folder = tmp_path_factory.mktemp("array")
    (folder / "stories.jsonl").write_text(STORIES)
    for name in ("one", "two"):
        text = RECIPE.format(folder=folder, name=name, last_tokens=128 * NUM_STEPS)
        (folder / f"{name}.yaml").write_text(text)
    return folder
