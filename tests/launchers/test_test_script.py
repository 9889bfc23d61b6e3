"""launchers/test.sh installs system packages only in CI, or where somebody has said yes. apt-get and pytest are stand-ins that
write down how they were called."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHERS = Path(__file__).resolve().parents[2] / "launchers"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real script and an environment that is made, on a machine without a compiler."""
    programs = tmp_path / "bin"
    (tmp_path / "launchers").mkdir()
    programs.mkdir()
    shutil.copy(LAUNCHERS / "test.sh", tmp_path / "launchers")
    (tmp_path / "launchers" / "environment.sh").write_text(f"VIRTUAL_ENV={tmp_path}\n")
    for name in ("bash", "dirname", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    for name in ("apt-get", "pytest", "pip"):
        (programs / name).write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >>{tmp_path}/called\n')
    (programs / "python").write_text(f'#!{shutil.which("bash")}\nexec {sys.executable} "$@"\n')
    for name in ("apt-get", "pytest", "pip", "python"):
        (programs / name).chmod(0o755)
    return tmp_path


def run(project: Path, *words: str, **variables: str) -> tuple[list[str], str]:
    """What was called, and what was said."""
    environment = {"PATH": str(project / "bin"), "HOME": str(project), **variables}
    answer = subprocess.run(
        ["bash", str(project / "launchers" / "test.sh"), *(words or ["-x"])],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return (project / "called").read_text().splitlines(), answer.stderr


def test_nothing_is_installed_unasked(project: Path) -> None:
    called, said = run(project)
    assert not any(line.startswith("apt-get") for line in called)
    assert called[-1].startswith("pytest ")
    assert "apt-get install g++" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
@pytest.mark.parametrize("variable", [{"CI": "true"}, {"LMEFF_INSTALL_PACKAGES": "yes"}])
def test_ci_and_those_who_said_yes_get_them(project: Path, variable: dict[str, str]) -> None:
    called, _ = run(project, **variable)
    assert called[0].startswith("apt-get update")
    assert "g++" in called[1]
    assert called[-1].startswith("pytest ")


def test_the_fast_tests_need_nothing_beyond_the_environment(project: Path) -> None:
    called, said = run(project, "--fast", "tests/plan", CI="true")
    (words,) = called
    assert words.startswith("pytest -n 2")
    assert "-m not slow and not medium" in words
    assert words.endswith(" tests/plan")
    assert re.fullmatch(r"tests: the fast ones took \d+ s; .*\n", said)
