"""A finished run to publish, a Hub to publish it to, and what a user's environment says about both."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import TOKEN, HubServer
from tests.launching import ROOT, environment, finish, run_folder, start, write_recipe

REPOSITORY = "tester/stories-41.1k-tok320"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `publish.to: local`: two anchors and the final model."""
    recipe = write_recipe(tmp_path_factory.mktemp("finished"))
    finish(start(None, str(recipe), "anchors.tokens=[0,20k]", "model.max_position_embeddings=128"))
    return run_folder(recipe)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, of which nothing is published."""
    folder = tmp_path / "outputs" / "job" / "seed-1"
    shutil.copytree(finished, folder)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A running Hub, and an environment that points at it."""
    with HubServer() as server:
        for name, value in hub_environment(server, tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield server


def hub_environment(server: HubServer, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": TOKEN,
        "HF_NAMESPACE": "tester",
        "HF_HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }


def lmeff(*words: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """`lmeff WORDS` as a user calls it."""
    command = [sys.executable, "-m", "lmeff.cli", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment() | variables, capture_output=True, text=True, timeout=300, check=False
    )


def python(code: str, *words: str) -> str:
    """What a program prints that a user of the Hub writes, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
