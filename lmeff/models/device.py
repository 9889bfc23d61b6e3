"""The machine that models run on: its device, a description of it beside figures of speed, and its memory."""

import os
import platform
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from lmeff.environment import asks_for_cpu
from lmeff.errors import InputError
from lmeff.models.versions import library_versions


def choose_device(wanted: str | None = None) -> torch.device:
    """The device that a user wants: `cpu` or `cuda`; for None a GPU where there is one and the launcher, or the environment,
    does not ask for the CPU. Raises InputError for a GPU that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; `lmeff doctor` says more")
    if wanted is None:
        wanted = "cuda" if torch.cuda.is_available() and not asks_for_cpu() else "cpu"
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Names, cores, threads, versions and load of the machine, which is watched for half a second; for a GPU also its power
    limit where nvidia-smi gives it."""
    machine = {
        "device": device.type,
        "cpu": _cpu_name(),
        "num_cores": len(os.sched_getaffinity(0)),
        "num_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),  # of the last minute, and so of this program, too
        "load_of_others": load_of_others(0.5),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **library_versions()},
    }
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        machine["gpu"] = {
            "name": about.name,
            "memory_bytes": about.total_memory,
            "cuda": torch.version.cuda,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            **_nvidia_smi(getattr(about, "uuid", None)),
        }
    return machine


def load_of_others(seconds: float) -> float | None:
    """The share of this process's cores that other programs keep busy, from 0 to 1, watched for so long. None where the kernel
    does not tell."""
    cores = os.sched_getaffinity(0)
    before, own_before, begun = busy_seconds(_read("/proc/stat"), cores), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    after, own_after, ended = busy_seconds(_read("/proc/stat"), cores), time.process_time(), time.perf_counter()
    if not before or not after:
        return None
    share = (after - before - (own_after - own_before)) / (ended - begun) / len(cores)
    return round(min(max(share, 0.0), 1.0), 3)


def busy_seconds(stat: str, cores: Collection[int]) -> float | None:
    """For how long these cores have worked, for anybody, by the text of `/proc/stat`; None where one of them is not in it."""
    lines = [line.split() for line in stat.splitlines()]
    ticks = {line[0]: [int(number) for number in line[1:9]] for line in lines if line and line[0].startswith("cpu")}
    if not all(f"cpu{core}" in ticks for core in cores):
        return None
    idle, waiting = 3, 4  # what guests take is in the time of users, too
    busy = sum(sum(ticks[f"cpu{core}"]) - ticks[f"cpu{core}"][idle] - ticks[f"cpu{core}"][waiting] for core in cores)
    return busy / os.sysconf("SC_CLK_TCK")


def main_memory_bytes() -> int:
    """Main memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_bytes() -> int | None:
    """Main memory that this process could still take, as the kernel and its control group say; None when neither does."""
    lines = _read("/proc/meminfo").splitlines()
    limits = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        limits.append(max(0, int(limit) - int(used)))
    return min(limits, default=None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. On a CPU torch raises an ordinary RuntimeError then, and on a GPU where it is
    cuBLAS, cuDNN or another library of CUDA that finds no room."""
    words = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "_status_alloc_failed",
        "_allocation_failed",  # so cuDNN says it since version 9
    )
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error).lower() for word in words)


def _cpu_name() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _nvidia_smi(uuid: object) -> dict[str, str]:
    asked = {"power_limit_watts": "power.limit", "max_sm_clock_mhz": "clocks.max.sm", "driver": "driver_version"}
    which = ["-i", f"GPU-{uuid}"] if uuid else []
    command = ["nvidia-smi", f"--query-gpu={','.join(asked.values())}", "--format=csv,noheader,nounits", *which]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.splitlines()[0].split(",")] if answer.strip() else []
    return dict(zip(asked, values, strict=True)) if len(values) == len(asked) else {}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
