"""What the environment says of training and scoring, read in one way everywhere. Needs no torch."""

import os
import shutil
from fnmatch import fnmatchcase

TF32 = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
"""Variables that change what float32 is on a GPU, for cuBLAS and for torch, each read once in a process."""
_FOR_LAUNCHES = ("ACCELERATE_*", *TF32)
DEVICE_VARIABLES = ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE")
"""Variables of accelerate that say on which device to compute; whoever sets them means every process."""
_ASKS = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DOWNCAST_BF16", "ACCELERATE_DYNAMO_BACKEND", *TF32)


def is_on(variable: str) -> bool:
    """Whether a variable is set to what accelerate and transformers take for true."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on", "y", "t")


def asks_for_cpu() -> bool:
    """Whether accelerate is told to leave GPUs alone."""
    return is_on("ACCELERATE_USE_CPU") or os.environ.get("ACCELERATE_TORCH_DEVICE", "").lower() == "cpu"


def find_compiler() -> str | None:
    """The C++ compiler that torch would take."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "g++", "g++", "clang++", "c++"))), None)


def set_numerics_aside() -> list[str]:
    """Removes what would make numbers others than a recipe or a result says: precision, compiling and engines of a launch.

    For before torch is imported. Returns a line for each that would have changed something.
    """
    found = {
        name: os.environ.pop(name)
        for name in sorted(os.environ)
        if name not in DEVICE_VARIABLES and any(fnmatchcase(name, pattern) for pattern in _FOR_LAUNCHES)
    }
    return [
        f"the environment: {name}={value} is not used: the recipe, or the verb, says how it computes"
        for name, value in found.items()
        if name in _ASKS and value.lower() not in ("", "0", "no", "false")
    ]
