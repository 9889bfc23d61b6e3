"""A finished run to publish, a Hub to publish it to, and what a user's environment says about both."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import prepared
import pytest
from hub_server import TOKEN, HubServer
from launching import ROOT, environment, finish, run_folder, start, write_recipe

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


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub") / "hf"


@pytest.fixture
def hub(hub_server: HubServer, hub_home: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A running Hub where nothing is, and an environment that points at it, where nothing is cached.

    Its address and that folder are those of all tests, so that one prepared parent serves them."""
    hub_server.clear()
    shutil.rmtree(hub_home, ignore_errors=True)
    for name, value in (environment() | hub_environment(hub_server, hub_home)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(subprocess, "Popen", prepared.Popen)
    return hub_server


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
