"""What this machine has for lmeff, what is missing, and how to get it. Imports nothing heavy."""

import configparser
import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from lmeff.environment import find_compiler
from lmeff.errors import EXIT_FAILED, InputError
from lmeff.evaluation.tasks.sources import SOURCES, data_root
from lmeff.quantities import format_bytes

PROJECT = Path(__file__).resolve().parents[2]
SET_UP = "bash launchers/environment.sh"
"""In a checkout; elsewhere pip does it."""
MIN_PYTHON = (3, 11)
MIN_FREE_DISK_BYTES = 20 * 10**9
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def in_checkout() -> bool:
    """Whether this is the project as it is developed, with its tests, and not an installed package."""
    return (PROJECT / "launchers" / "environment.sh").is_file() and (PROJECT / "tests").is_dir()


def _set_up(requirement: str) -> str:
    return SET_UP if in_checkout() else f"pip install '{requirement}'"


@dataclass(frozen=True)
class Check:
    name: str
    status: Literal["ok", "missing", "note"]
    """`missing`: lmeff does not work without it. `note`: some of it does not, or it is worth knowing."""
    found: str
    how: str = ""
    """How to get it, in one line."""


def report() -> list[Check]:
    """Every check, in the order in which it is shown."""
    return [
        _python(),
        *_packages(),
        _cores(),
        _memory(),
        _disk(),
        *_gpus(),
        *_compiler(),
        *_programs(),
        _hub_token(),
        *_data(),
    ]


def format_report(checks: list[Check]) -> str:
    """The checks as lines of text; what is missing is repeated at the end."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.status:7}  {check.name:{width}}  {check.found}")
        if check.how:
            lines.append(f"{'':7}  {'':{width}}  -> {check.how}")
    missing = [check.name for check in checks if check.status == "missing"]
    lines.append(f"missing: {', '.join(missing)}" if missing else "nothing that lmeff needs is missing")
    return "\n".join(lines)


def exit_code(checks: list[Check]) -> int:
    """0 when nothing required is missing, else 1."""
    return EXIT_FAILED if any(check.status == "missing" for check in checks) else 0


def print_report() -> int:
    """`lmeff doctor`: prints the report and returns the exit code."""
    checks = report()
    print(format_report(checks))
    return exit_code(checks)


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info >= MIN_PYTHON:
        return Check("Python", "ok", found)
    return Check(
        "Python", "missing", found, f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer, then {_set_up('lmeff')}"
    )


def requirements() -> list[Requirement]:
    """The packages that lmeff needs, with their ranges: from the installed metadata, else from setup.cfg."""
    try:
        lines = metadata.requires("lmeff") or []
    except metadata.PackageNotFoundError:
        settings = configparser.ConfigParser()
        settings.read(PROJECT / "setup.cfg", encoding="utf-8")
        lines = settings.get("options", "install_requires", fallback="").split("\n")
    needed = [Requirement(line) for line in lines if line.strip()]
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def _packages() -> Iterator[Check]:
    for requirement in requirements():
        wanted = f"needs {requirement.specifier}" if requirement.specifier else "any version"
        version = next((one.version for one in metadata.distributions(name=requirement.name)), None)
        if not version:
            yield Check(requirement.name, "missing", f"not installed ({wanted})", _set_up(str(requirement)))
        elif requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, "ok", f"{version} ({wanted})")
        else:
            yield Check(requirement.name, "missing", f"{version} ({wanted})", _set_up(str(requirement)))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _cores() -> Check:
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    limit = f", limited to {int(quota) / int(period):g} by its control group" if quota.isdigit() and period else ""
    flags = {flag for flag in _read("/proc/cpuinfo").split() if flag in ("avx512_bf16", "amx_bf16", "bf16")}
    bf16 = (
        f"bfloat16 in hardware ({', '.join(sorted(flags))})" if flags else "no bfloat16 in hardware: float32 is faster"
    )
    return Check("CPU", "ok", f"{num_cores} cores for this process{limit}; {bf16}")


def _memory() -> Check:
    amounts = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    if "MemTotal" not in amounts:
        return Check("memory", "note", "unknown on this system")
    total, available = (int(amounts.get(key, "0").split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    bound = f", limited to {format_bytes(int(limit))} by its control group" if limit.isdigit() else ""
    return Check("memory", "ok", f"{format_bytes(total)}, {format_bytes(available)} free{bound}")


def _disk() -> Check:
    free = shutil.disk_usage(".").free
    found = f"{format_bytes(free)} free in {Path.cwd()}"
    if free >= MIN_FREE_DISK_BYTES:
        return Check("disk", "ok", found)
    return Check(
        "disk", "note", found, "`lmeff plan RECIPE` says how much a run writes; paths.outputs and paths.data move it"
    )


def _run(*command: str) -> str | None:
    """What a program prints, or None when there is no such program or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _gpus() -> Iterator[Check]:
    query = "--query-gpu=index,name,memory.total,driver_version,compute_cap"
    output = _run("nvidia-smi", query, "--format=csv,noheader,nounits")
    if not output:
        yield Check("GPU", "note", "none found (nvidia-smi); training runs on the CPU (lmeff train --launcher cpu)")
        return
    yield from parse_gpus(output)
    torch_version = next((one.version for one in metadata.distributions(name="torch")), "")
    if torch_version.endswith("+cpu"):
        how = "remove .venv and the index or wheel folder that pip takes CPU builds from, then " + _set_up("torch")
        yield Check("CUDA", "note", f"torch {torch_version} is a CPU build: it does not see the GPU", how)


def parse_gpus(output: str) -> Iterator[Check]:
    """One check for each line of nvidia-smi's CSV: index, name, memory in MiB, driver, compute capability."""
    for row in csv.reader(output.splitlines(), skipinitialspace=True):
        if len(row) != 5:
            continue
        index, name, memory, driver, capability = row
        size = format_bytes(int(memory) * 2**20) if memory.isdigit() else memory
        # bfloat16 came with Ampere, compute capability 8.0.
        bf16 = (
            "bfloat16"
            if capability.split(".")[0].isdigit() and float(capability) >= 8
            else "no bfloat16: float32 or fp16"
        )
        yield Check(f"GPU {index}", "ok", f"{name}, {size}, driver {driver}, {bf16}")


def _compiler() -> Iterator[Check]:
    purpose = "only DeepSpeed on a CPU (the launchers cpu_zero1, 2, 3) needs it"
    compiler = find_compiler()
    if compiler:
        yield Check("g++", "ok", compiler)
    else:
        needs = "DeepSpeed on a CPU (the launchers cpu_zero1, 2, 3), training.torch_compile and --precision adaptive need it"
        yield Check("g++", "note", f"not found; {needs}", "apt-get install g++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.exists():
        yield Check("Python.h", "ok", str(header))
    else:
        yield Check("Python.h", "note", f"not found; {purpose}", "apt-get install python3-dev")
    ninja = shutil.which("ninja") or shutil.which("ninja", path=sysconfig.get_path("scripts"))
    if ninja:
        yield Check("ninja", "ok", ninja)
    else:
        yield Check("ninja", "note", f"not found; {purpose}", _set_up("ninja"))
    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    for lock in sorted(folder.glob("**/lock")):
        found = f"{lock}: DeepSpeed is building its extension, or was killed at it; then ZeRO on a CPU waits for ever"
        yield Check("build lock", "note", found, f"when nothing is being built: rm {lock}")


def _programs() -> Iterator[Check]:
    git = shutil.which("git")
    if git:
        yield Check("git", "ok", git)
    else:
        yield Check("git", "note", "not found; provenance.json will name no commit", "apt-get install git")
    absent = [name for name in ("sbatch", "squeue") if not shutil.which(name)]
    if absent:
        found = f"{' and '.join(absent)} not found; runs start by hand (lmeff train)"
        yield Check("Slurm", "note", found, "log in where jobs are submitted, or load your cluster's module")
    else:
        yield Check("Slurm", "ok", (_run("sbatch", "--version") or "").strip() or str(shutil.which("sbatch")))
    if not in_checkout():
        return
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser:
        yield Check("Chromium", "ok", browser)
    else:
        yield Check("Chromium", "note", "not found; only tests of the report need it", "apt-get install chromium")


def _hub_token() -> Check:
    """Whether there is a token for the Hub, and from where. The token itself is never shown."""
    variable = next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name, "").strip()), None)
    if variable:
        return Check("Hub token", "ok", f"in {variable}")
    if re.search(r"^\s*(?:export\s+)?HF_TOKEN\s*=\s*\S", _read(".env"), re.MULTILINE):
        return Check("Hub token", "ok", "in .env")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    home = Path(os.environ.get("HF_HOME", cache))
    path = Path(os.environ.get("HF_TOKEN_PATH", home / "token")).expanduser()
    if _read(str(path)).strip():
        return Check("Hub token", "ok", f"in {path}")
    return Check("Hub token", "note", "none; only publishing to the Hub and gated data need it", "hf auth login")


def _data() -> Iterator[Check]:
    if in_checkout():
        yield _test_data(os.environ.get("LMEFF_TEST_DATA"))
    try:
        root = data_root()
    except InputError as error:
        yield Check(
            "evaluation data", "missing", str(error), "set that variable, or LMEFF_EVAL_DATA to a path without it"
        )
        return
    if root is None:
        how = "set LMEFF_EVAL_DATA, or evaluation.paths.blimp in the recipe, to score without a network"
        yield Check("evaluation data", "note", "LMEFF_EVAL_DATA is not set; BLiMP is read from the Hub", how)
        return
    folders = {name: source.folders for name, source in SOURCES.items()}
    there = [name for name, known in folders.items() if any((root / folder).is_dir() for folder in known)]
    if there:
        yield Check("evaluation data", "ok", f"{root} with {', '.join(there)}")
    else:
        how = "set LMEFF_EVAL_DATA to a folder that holds blimp/ or others"
        yield Check("evaluation data", "missing", f"{root} (LMEFF_EVAL_DATA) has no folder such as blimp", how)


def _test_data(variable: str | None) -> Check:
    if variable and Path(variable).is_dir():
        return Check("test data", "ok", variable)
    found = f"LMEFF_TEST_DATA, {variable}, is no folder" if variable else "LMEFF_TEST_DATA is not set"
    how = "only tests and benchmarks need it: the folder that holds blimp/, leaner/ and others"
    return Check("test data", "note", found, how)
