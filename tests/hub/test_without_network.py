"""Without a network everything that needs the Hub is asked for once, and not for every revision and set of data."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evaluation.small_models import save_model
from hub_server import HubServer
from hub_user import hub_environment
from launching import environment

pytestmark = pytest.mark.slow
NAMES = ("run-tokens-1M", "run-tokens-2M", "run-tokens-3M")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        save_model(folder / name)
    return folder


def evaluated(hub: HubServer, folder: Path, *words: str) -> tuple[subprocess.CompletedProcess, float]:
    """`lmeff eval WORDS` with this Hub, and the seconds that it took."""
    variables = environment() | hub_environment(hub, folder / "hf")
    variables.pop("LMEFF_EVAL_DATA", None)
    command = [sys.executable, "-m", "lmeff.cli", "eval", *words]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)
    return done, time.monotonic() - begun


def test_data_sets_of_a_hub_that_is_away(models: Path, tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.stop()
        done, seconds = evaluated(hub, tmp_path, str(models), "--tasks", "lmeff_blimp,lmeff_ewok")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "cannot be scored" in line]
    assert [line.split(":")[0] for line in lines] == list(NAMES)
    assert all("127.0.0.1 cannot be reached" in line and "evaluation.paths.blimp" in line for line in lines)
    assert "Retrying" not in done.stderr, "nothing is tried six times"
    assert "Traceback" not in done.stderr
    assert seconds < 60


@pytest.mark.parametrize(("how", "most"), [("reset", 3), ("status", 8)])
def test_a_hub_that_does_not_answer_is_asked_by_the_first_revision_alone(
    models: Path, tmp_path: Path, how: str, most: int
) -> None:
    """`datasets` itself asks up to seven times about one set of data; it did so for each revision."""
    with HubServer() as hub, hub.fault("^(GET|HEAD) .*blimp", how) as fault:
        done, _ = evaluated(hub, tmp_path, str(models), "--tasks", "lmeff_blimp")
    assert done.returncode == 1
    assert len(re.findall("cannot be scored", done.stdout)) == 3
    assert 1 <= fault.num_met <= most


def test_models_of_a_hub_that_is_away(tmp_path: Path) -> None:
    with HubServer() as hub, hub.fault(".*", "reset") as fault:
        done, _ = evaluated(hub, tmp_path, "lab/model", "--revisions", "all", "--tasks", "lmeff_synthetic")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert fault.num_met == 1
