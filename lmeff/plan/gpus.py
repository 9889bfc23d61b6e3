"""GPUs that a plan can be made for without having one."""

from typing import Literal, NamedTuple

from lmeff.errors import InputError
from lmeff.recipe.schema import Recipe

Precision = Literal["float32", "bfloat16", "float16"]


class Gpu(NamedTuple):
    """One GPU, from the vendor's data sheet."""

    peak_tflops: float
    """Dense 16-bit tensor peak in TFLOP/s."""
    gigabytes: float
    capability: float = 8.0
    """CUDA compute capability; 8 stands for 8 and above, which have bfloat16 and TF32."""


GPUS = {
    "v100": Gpu(125.0, 32, 7.0),
    "t4": Gpu(65.0, 16, 7.5),
    "rtx3090": Gpu(71.0, 24),
    "rtx4090": Gpu(165.2, 24),
    "a10": Gpu(125.0, 24),
    "l4": Gpu(121.0, 24),
    "l40s": Gpu(362.0, 48),
    "a100": Gpu(312.0, 80),
    "h100": Gpu(989.4, 80),
    "h200": Gpu(989.4, 141),
    "b200": Gpu(2250.0, 180),
}


def find_gpu(name: str) -> Gpu:
    """A GPU by its name in any case. Raises InputError for one that is not known."""
    if name.lower() not in GPUS:
        raise InputError(f"--gpu: {name!r} is not one of {', '.join(GPUS)}; give --tokens-per-second instead")
    return GPUS[name.lower()]


def planned_precision(recipe: Recipe, gpu: Gpu | None = None) -> Precision | None:
    """What a run computes in; None with `training.bf16: auto` when the device is not known."""
    bf16 = recipe.training.get("bf16", "auto")
    if recipe.training.get("fp16"):
        return "float16"
    if bf16 != "auto":
        return "bfloat16" if bf16 is True else "float32"
    if gpu is None:
        return None
    return "bfloat16" if gpu.capability >= 8 else "float32"
