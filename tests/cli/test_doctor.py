import os
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from lmeff.cli import machine_report as doctor
from lmeff.cli.machine_report import Check, exit_code, format_report, parse_gpus, print_report, report


def found(name: str) -> Check:
    (check,) = [check for check in report() if check.name == name]
    return check


@pytest.fixture
def bare_path(monkeypatch, tmp_path):
    """A PATH on which there is no program but those a test writes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_it_tells_this_machine(monkeypatch):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    checks = report()
    assert exit_code(checks) == 0, format_report(checks)
    by_name = {check.name: check for check in checks}
    assert by_name["Python"].found.startswith(".".join(map(str, sys.version_info[:3])))
    assert by_name["torch"].found.startswith(metadata.version("torch"))
    assert {"transformers", "deepspeed", "lm-eval", "CPU", "memory", "disk", "git", "Slurm", "Hub token"} <= set(
        by_name
    )
    assert all("\n" not in check.found + check.how for check in checks)
    assert all(check.how for check in checks if check.status == "missing")


@pytest.mark.medium
def test_it_needs_no_heavy_import():
    code = "import sys, lmeff.cli.machine_report; lmeff.cli.machine_report.report(); print(*sys.modules)"
    command, environment = [sys.executable, "-c", code], os.environ | {"LMEFF_EVAL_DATA": "~/data"}
    modules = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert "lmeff.cli.machine_report" in modules
    assert not {"torch", "numpy", "transformers", "deepspeed", "huggingface_hub", "pydantic"} & set(modules)


@pytest.mark.medium
def test_a_missing_package_and_one_outside_its_range(monkeypatch):
    needed = [Requirement("lmeff-no-such-package>=1.2"), Requirement("pytest<1"), Requirement("packaging")]
    monkeypatch.setattr(doctor, "requirements", lambda: needed)
    absent, old, fine = (found(one.name) for one in needed)
    assert (absent.status, absent.found) == ("missing", "not installed (needs >=1.2)")
    assert (old.status, old.found) == ("missing", f"{metadata.version('pytest')} (needs <1)")
    assert fine.status == "ok"
    assert absent.how == old.how == "bash launchers/environment.sh"
    assert exit_code(report()) == 1


@pytest.mark.medium
def test_ranges_come_from_setup_cfg_where_lmeff_is_not_installed(monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_installed)
    ranges = {one.name: str(one.specifier) for one in doctor.requirements()}
    assert ">=" in ranges["torch"]
    assert "transformers" in ranges
    assert "pytest" not in ranges


def test_what_is_shown():
    checks = [
        Check("Python", "ok", "3.11.7"),
        Check("torch", "missing", "not installed", "do this"),
        Check("g++", "note", "-"),
    ]
    assert format_report(checks).splitlines() == [
        "ok       Python  3.11.7",
        "missing  torch   not installed",
        "                 -> do this",
        "note     g++     -",
        "missing: torch",
    ]
    assert exit_code(checks) == 1
    assert exit_code([checks[0], checks[2]]) == 0
    assert format_report(checks[:1]).endswith("nothing that lmeff needs is missing")


@pytest.mark.medium
def test_programs_that_are_absent_are_notes_with_a_remedy(bare_path):
    for name in ("g++", "git", "Slurm", "Chromium"):
        check = found(name)
        assert check.status == "note"
        assert check.how
    assert found("GPU").status == "note"
    assert exit_code(report()) == 0


def test_gpus():
    output = (
        "0, NVIDIA H200, 143771, 570.86.15, 9.0\n"
        "1, Tesla V100-SXM2-16GB, 16384, 535.54.03, 7.0\n"
        "2, NVIDIA GB10, [N/A], 580.95.05, 12.1\n"
    )
    assert [(check.name, check.status, check.found) for check in parse_gpus(output)] == [
        ("GPU 0", "ok", "NVIDIA H200, 151 GB, driver 570.86.15, bfloat16"),
        ("GPU 1", "ok", "Tesla V100-SXM2-16GB, 17.2 GB, driver 535.54.03, no bfloat16: float32 or fp16"),
        ("GPU 2", "ok", "NVIDIA GB10, [N/A], driver 580.95.05, bfloat16"),
    ]


def test_gpus_are_asked_of_nvidia_smi(bare_path):
    program = bare_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "0, NVIDIA H200, 143771, 570.86.15, 9.0"\n')
    program.chmod(0o755)
    assert found("GPU 0").found.startswith("NVIDIA H200")
    cpu_build = metadata.version("torch").endswith("+cpu")
    assert [check.status for check in report() if check.name == "CUDA"] == (["note"] if cpu_build else [])
    program.write_text('#!/bin/sh\necho "NVIDIA-SMI has failed"\nexit 9\n')
    assert found("GPU").status == "note"


def test_a_token_is_found_and_never_shown(monkeypatch, tmp_path, capsys):
    secret = "hf_ThisMustNeverBeShown"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert found("Hub token").status == "note"
    (tmp_path / "token").write_text(secret)
    assert (found("Hub token").status, found("Hub token").found) == ("ok", f"in {tmp_path / 'token'}")
    print_report()
    monkeypatch.setenv("HF_TOKEN", secret)
    assert found("Hub token").found == "in HF_TOKEN"
    print_report()
    assert secret not in capsys.readouterr().out


@pytest.mark.medium
def test_data_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("LMEFF_TEST_DATA", raising=False)
    assert (found("test data").status, found("test data").found) == ("note", "LMEFF_TEST_DATA is not set")
    monkeypatch.setenv("LMEFF_TEST_DATA", str(tmp_path / "none"))
    assert found("test data").status == "note"
    monkeypatch.setenv("LMEFF_TEST_DATA", str(tmp_path))
    assert found("test data").status == "ok"
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    assert found("evaluation data").status == "missing"
    assert print_report() == 1
    (tmp_path / "blimp").mkdir()
    assert found("evaluation data").status == "ok"
    assert print_report() == 0
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    for written in (f"~/{tmp_path.name}", f"$HOME/{tmp_path.name}"):
        monkeypatch.setenv("LMEFF_EVAL_DATA", written)
        assert found("evaluation data").found == f"{tmp_path} with blimp"
    monkeypatch.setenv("LMEFF_EVAL_DATA", "$NO_SUCH_VARIABLE/data")
    assert found("evaluation data").status == "missing"
    assert "the variable NO_SUCH_VARIABLE is not set" in found("evaluation data").found


def test_an_installed_package_is_told_nothing_of_tests_and_scripts(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "PROJECT", tmp_path)
    monkeypatch.setattr(doctor, "requirements", lambda: [Requirement("lmeff-no-such-package>=1.2")])
    checks = report()
    assert not {"test data", "Chromium"} & {check.name for check in checks}
    assert found("lmeff-no-such-package").how == "pip install 'lmeff-no-such-package>=1.2'"
    assert "launchers/" not in format_report(checks)
