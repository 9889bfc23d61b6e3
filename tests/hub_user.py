"""A user of the Hub of these tests: the environment that points at it, and the programs that are called there."""

import subprocess
import sys
from pathlib import Path

import prepared
from hub_server import TOKEN, HubServer
from launching import ROOT, environment

REPOSITORY = "tester/stories-41.1k-tok320"


def hub_environment(server: HubServer, home: Path) -> dict[str, str]:
    """What the process that delivers has besides is here too, so that one prepared parent serves it as well."""
    return {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": TOKEN,
        "HF_NAMESPACE": "tester",
        "HF_HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def lmeff(*words: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """`lmeff WORDS` as a user calls it."""
    command = [sys.executable, "-m", "lmeff.cli", *words]
    return prepared.run(command, cwd=cwd, env=environment() | variables, capture_output=True, text=True)


def python(code: str, *words: str) -> str:
    """What a program prints that a user of the Hub writes, in a process of its own."""
    answer = prepared.run([sys.executable, "-c", code, *words], env=environment(), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
