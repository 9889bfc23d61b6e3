"""A finished run to publish, a Hub to publish it to, and what a user's environment says about both."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import prepared
import pytest
from hub_server import HubServer
from hub_user import hub_environment
from launching import environment, finish, run_folder, start, write_recipe


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
