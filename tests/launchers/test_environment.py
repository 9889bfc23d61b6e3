"""launchers/environment.sh with real environments and the real pip, on a small project whose packages are stand-ins."""

import base64
import ensurepip
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

LAUNCHERS = Path(__file__).resolve().parents[2] / "launchers"

# Builds the wheel of an editable installation, so that no build tool has to be downloaded.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "lmeff-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        info = "lmeff-0.0.1.dist-info"
        metadata = "Metadata-Version: 2.1\\nName: lmeff\\nVersion: 0.0.1\\nProvides-Extra: test\\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel with one module that holds its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


class Project:
    """A small project with the real environment.sh."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root.with_name("wheels")
        (root / "launchers").mkdir(parents=True)
        self.wheels.mkdir(exist_ok=True)
        shutil.copy(LAUNCHERS / "environment.sh", root / "launchers")
        (root / "backend.py").write_text(BACKEND)
        (root / "setup.cfg").write_text("")
        (root / "pyproject.toml").write_text(
            "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        )
        for name in ("setuptools", "wheel", "ninja", "packaging", "numpy", "torch", "deepspeed"):
            write_wheel(self.wheels, name, "7.0.0")
        self.pin(torch="7.0.0")

    def pin(self, torch: str) -> None:
        others = [f"{name}==7.0.0" for name in ("setuptools", "wheel", "ninja", "packaging", "numpy", "deepspeed")]
        lines = ["# pins", f"pip=={ensurepip.version()}", f"torch=={torch}", *others]
        (self.root / "launchers" / "constraints.txt").write_text("\n".join(lines) + "\n")

    def environment(self, **changes: str) -> dict[str, str]:
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
        own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return variables | own | {"PYTHON": sys.executable} | changes

    def set_up(self, **changes: str) -> subprocess.CompletedProcess:
        command = ["bash", str(self.root / "launchers" / "environment.sh")]
        return subprocess.run(command, cwd="/", env=self.environment(**changes), capture_output=True, text=True)

    def torch_version(self) -> str:
        command = [self.root / ".venv" / "bin" / "python", "-c", "import torch; print(torch.version)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose environment is made; in a folder with a space in its name."""
    project = Project(tmp_path_factory.mktemp("environment") / "my project")
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    return project, done


@pytest.fixture
def project(made, tmp_path):
    """A project of one's own, with a copy of the environment, which therefore is in the wrong place."""
    shutil.copytree(made[0].wheels, tmp_path / "wheels")
    shutil.copytree(made[0].root, tmp_path / "project", symlinks=True)
    project = object.__new__(Project)
    project.root, project.wheels = tmp_path / "project", tmp_path / "wheels"
    return project


@pytest.mark.slow
def test_it_is_made_with_a_line_for_each_stage(made):
    project, done = made
    lines = done.stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["making", "1/5", "2/5", "3/5", "4/5", "5/5", "ready"]
    assert done.stdout == ""
    assert project.torch_version() == "7.0.0"


@pytest.mark.slow
def test_the_second_time_it_does_nothing_and_is_fast(made):
    begun = os.times()
    done = made[0].set_up()
    ended = os.times()
    # Of processors, since a busy machine lets it wait; of the clock only to show that it waits for nobody.
    assert ended.children_user + ended.children_system - begun.children_user - begun.children_system < 0.5
    assert ended.elapsed - begun.elapsed < 10
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_sourcing_it_changes_two_variables_only(made):
    project, _ = made
    program = (
        "set -euo pipefail\nbefore= after=\nbefore=$(compgen -v; compgen -A function; pwd)\n"
        '. "$1"\nafter=$(compgen -v; compgen -A function; pwd)\n'
        'comm -13 <(sort -u <<<"$before") <(sort -u <<<"$after")\ncommand -v python\n'
    )
    variables = project.environment()
    variables.pop("VIRTUAL_ENV", None)
    command = ["bash", "-c", program, "bash", str(project.root / "launchers" / "environment.sh")]
    done = subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=True)
    new, python = done.stdout.split("\n", 1)
    assert new == "VIRTUAL_ENV"
    assert python.strip() == str(project.root / ".venv" / "bin" / "python")


@pytest.mark.slow
def test_new_pins_update_it_in_place(made):
    project, _ = made
    write_wheel(project.wheels, "torch", "7.1.0")
    project.pin(torch="7.1.0")
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    assert "making" not in done.stderr
    assert project.torch_version() == "7.1.0"


@pytest.mark.slow
def test_a_copied_environment_is_made_anew(project):
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    assert "making it anew" in done.stderr
    assert str(project.root) in (project.root / ".venv" / "bin" / "pip").read_text()


@pytest.mark.slow
def test_a_failed_installation_says_what_pip_said_and_goes_on_later(project):
    shutil.rmtree(project.root / ".venv")
    deepspeed = next(project.wheels.glob("deepspeed-*"))
    deepspeed.rename(project.root / deepspeed.name)
    done = project.set_up()
    assert done.returncode == 1
    assert "failed at: 4/5 deepspeed" in done.stderr
    assert "deepspeed==7.0.0" in done.stderr  # from pip
    assert "run this again" in done.stderr
    assert str(project.root / ".venv" / "install.log") in done.stderr
    (project.root / deepspeed.name).rename(deepspeed)
    done = project.set_up()
    assert done.returncode == 0
    assert "making" not in done.stderr


@pytest.mark.slow
def test_an_installation_that_was_killed_is_made_anew(project):
    shutil.rmtree(project.root / ".venv")
    command = ["bash", str(project.root / "launchers" / "environment.sh")]
    running = subprocess.Popen(
        command, env=project.environment(), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    for line in running.stderr:
        if "2/5" in line:
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    done = project.set_up()
    assert done.returncode == 0, done.stderr
    assert "making it anew" in done.stderr
    assert project.set_up().stderr == ""


@pytest.mark.slow
def test_two_at_once_make_it_once(project):
    shutil.rmtree(project.root / ".venv")
    command = ["bash", str(project.root / "launchers" / "environment.sh")]
    options = {"env": project.environment(), "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    texts = sorted((running.communicate()[1] for running in both), key=len)
    assert [running.returncode for running in both] == [0, 0]
    assert texts[0] == "environment: waiting for another set-up of this environment\n"
    assert texts[1].endswith(" s\n")


def path_without_python(folder: Path) -> Path:
    """A folder with the programs that the script uses, and no Python."""
    folder.mkdir()
    for program in ("bash", "cat", "dirname", "head", "rm", "sha256sum", "touch"):
        (folder / program).symlink_to(shutil.which(program))
    return folder


def test_without_a_python_it_says_so_in_one_line(tmp_path):
    project = Project(tmp_path / "project")
    programs = path_without_python(tmp_path / "bin")
    old = programs / "python3"
    old.write_text("#!/bin/sh\nexit 0\n")  # like an old one, it prints no path
    old.chmod(0o755)
    done = project.set_up(PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs Python 3.11 or newer" in line
    assert not (project.root / ".venv").exists()


def test_without_the_venv_module_it_says_which_package_to_install(tmp_path):
    project = Project(tmp_path / "project")
    programs = path_without_python(tmp_path / "bin")
    # Debian's python3 without python3-venv: there, but it cannot import ensurepip.
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *version_info*) echo "{python}" ;; esac\n')
    python.chmod(0o755)
    done = project.set_up(PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "apt-get install python3-venv" in line
