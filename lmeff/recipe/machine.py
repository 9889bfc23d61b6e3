"""What a recipe asks for that this machine lacks: packages that are not installed, hardware that is not there. No torch."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmeff.environment import asks_for_cpu, find_compiler
from lmeff.errors import InputError
from lmeff.packages import how_to_install
from lmeff.paths import expanded
from lmeff.recipe.reading import Resolved
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.training_values import COMPILE_BACKENDS, TRACKERS, compile_backend, trackers
from lmeff.recipe.wording import show

_INSTALL = {
    "azureml": "azureml-core",
    "comet_ml": "comet-ml",
    "liger_kernel": "liger-kernel",
    "torch_tensorrt": "torch-tensorrt",
    "tvm": "apache-tvm",
}
"""What pip calls a package, where that is not the name by which Python imports it."""
_DEVICES = {
    "cuda": ("/dev/nvidia[0-9]*", "/dev/nvhost-gpu", "/dev/dxg"),
    "hip": ("/dev/kfd", "/dev/dxg"),
    "xpu": ("/dev/dri/renderD*", "/dev/dxg"),
}
"""Files of which one is there when there is such a device, by the kind of device that torch may be built for."""
_SINCE_AMPERE = {"tf32": "leave it out", "bf16": "it has no bfloat16; use fp16, or leave it out for float32"}
"""Fields of `training:` that need a GPU of Ampere or newer, and what to do without one."""


def check_machine(resolved: Resolved, gpu_capability: float | None = None) -> None:
    """Raises InputError with a line, which names file and line, for each key of the recipe that a run could not obey here.
    With `gpu_capability`, the compute capability of a GPU, the hardware is taken to be that GPU."""
    first_texts: dict[str, str] = {}
    missing = [*_missing_packages(resolved.recipe), *_missing_hardware(resolved.recipe, gpu_capability)]
    for key, text in missing:
        first_texts.setdefault(key, text)
    if first_texts:
        raise InputError(*(resolved.line_of(key, text) for key, text in first_texts.items()))


def _missing_packages(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Key and text of what a package, a service or a variable of the environment keeps a run from doing."""
    training = recipe.training
    for name in trackers(training):
        yield from _packages("training.report_to", f"'{name}'", TRACKERS[name])
        if name == "tensorboard":
            try:
                expanded(os.environ.get("TENSORBOARD_LOGGING_DIR", ""))
            except InputError as error:
                yield "training.report_to", f"TENSORBOARD_LOGGING_DIR: {error}"
        if name == "kubeflow" and "KUBEFLOW_TRAINER_SERVER_URL" not in os.environ:
            yield "training.report_to", "'kubeflow' reports from inside a Kubeflow TrainJob alone, and this is none"
    if recipe.optimizer.name == "schedule_free_adamw":
        yield from _packages("optimizer.name", f"'{recipe.optimizer.name}'", ("schedulefree",))
    if "tpu_metrics_debug" in training.get("debug", ""):
        yield from _packages("training.debug", "'tpu_metrics_debug'", ("torch_xla",))
    backend = compile_backend(training)
    if backend:
        key = _compile_key(training)
        yield from _packages(key, f"'{backend}'", COMPILE_BACKENDS[backend])
        for variable in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE"):
            if os.environ.get(variable, "0") not in ("", "0"):
                yield key, f"the environment turns compiling off; unset {variable}, or set torch_compile: false"
    if training.get("use_liger_kernel"):
        yield from _packages("training.use_liger_kernel", "it", ("liger_kernel",))


def _missing_hardware(recipe: Recipe, gpu_capability: float | None) -> Iterator[tuple[str, str]]:
    """Key and text of what the GPU or the compiler of this machine keeps a run from doing."""
    training, backend = recipe.training, compile_backend(recipe.training)
    has_gpu = gpu_capability is not None or may_have_gpu()
    wanted = [
        ("training.fp16", training.get("fp16"), "float16 is for a GPU; use bf16, or leave it out for float32"),
        ("training.use_liger_kernel", training.get("use_liger_kernel"), "Liger's kernels are for a GPU; leave it out"),
        ("training.tf32", training.get("tf32"), "TF32 is of NVIDIA GPUs since Ampere; leave it out"),
        (_compile_key(training), backend == "cudagraphs", "'cudagraphs' is for a GPU; use 'inductor'"),
    ]
    for key, is_wanted, advice in wanted:
        if is_wanted and not has_gpu:
            yield key, f"there is no GPU to train on here: {advice} (lmeff plan --gpu NAME plans for another machine)"
    since_ampere = [name for name in _SINCE_AMPERE if training.get(name) is True]
    if since_ampere and has_gpu:
        capability = gpu_capability or _capability_here()
        for name in since_ampere if capability is not None and capability < 8 else ():
            text = f"the GPU is older than Ampere (compute capability {capability:g})"
            yield f"training.{name}", f"{text}; {_SINCE_AMPERE[name]}"
    if backend == "inductor" and gpu_capability is None and not find_compiler():
        text = f"{show(backend)} needs a C++ compiler, and there is none on PATH; install g++, or leave it out"
        yield _compile_key(training), text


def _compile_key(training: Mapping[str, Any]) -> str:
    """The key by which a recipe asks for compiling."""
    return "training.torch_compile_backend" if training.get("torch_compile_backend") else "training.torch_compile"


def _packages(key: str, what: str, packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for package in packages:
        if not any(_is_installed(name) for name in package.split("|")):
            how = how_to_install(package.partition("|")[0], _INSTALL.get(package))
            yield key, f"{what} needs a package that is not installed: {how}"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a package that is there and broken
        return False


def may_have_gpu() -> bool:
    """Whether training could run on an accelerator here. True where only torch could tell."""
    return not asks_for_cpu() and may_see_gpu()


def may_see_gpu() -> bool:
    """Whether torch could see an accelerator here, whatever a launcher says. True where only torch could tell."""
    if sys.platform != "linux":
        return True
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    patterns = (pattern for kind in _torch_kinds() for pattern in _DEVICES[kind])
    return any(any(Path("/").glob(pattern.lstrip("/"))) for pattern in patterns)


@cache
def _torch_kinds() -> tuple[str, ...]:
    """The kinds of accelerator that the installed torch was built for; all of them where it does not say."""
    package = find_spec("torch")
    if package is None or not package.submodule_search_locations:
        return tuple(_DEVICES)
    version = Path(package.submodule_search_locations[0], "version.py")
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    built_for = re.findall(r"^(cuda|hip|xpu)\b[^=\n]*=\s*(\S.*)$", text, re.MULTILINE)
    return tuple(kind for kind, value in built_for if value != "None") if built_for else tuple(_DEVICES)


@cache
def _capability_here() -> float | None:
    """The lowest compute capability of the NVIDIA GPUs of this machine; None where their tool does not say."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return min(map(float, answer.split()))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
