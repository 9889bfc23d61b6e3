"""What the launcher really started, checked against what it was asked for."""

import ctypes
import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, DynamoBackend
from transformers import Trainer, TrainingArguments
from transformers.utils import logging as transformers_logging

from lmeff.environment import asks_for_cpu, is_on
from lmeff.errors import InputError
from lmeff.library_internals import (
    attention_of,
    leave_deepspeed_unimported,
    reset_accelerator_state,
    use_running_sums_of_fixed_order,
)
from lmeff.runs.process import is_launched, launched_rank, launched_world_size, launcher_was_told

T = TypeVar("T")
_ENGINES = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.DEEPSPEED)

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _MOST = -1, -4, 2**31 - 1


def prepare_process(deterministic: bool = False) -> None:
    """For before the Trainer is imported: what DeepSpeed would guess aloud, one progress bar, all cores of a CPU, and what
    cuBLAS must know before its first use to be `deterministic`.

    `accelerate launch` gives a process one thread unless told otherwise; a process that is alone then takes the cores it has.
    """
    if not is_on("ACCELERATE_USE_DEEPSPEED"):
        leave_deepspeed_unimported()
    if asks_for_cpu() or not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        keep_freed_memory()
    if deterministic:
        if os.environ.get(_CUBLAS) not in (":4096:8", ":16:8"):  # torch refuses any other
            os.environ[_CUBLAS] = ":4096:8"
        if torch.cuda.is_available():
            use_running_sums_of_fixed_order()
    transformers_logging.disable_progress_bar()
    is_alone = is_launched() and launched_world_size() == 1
    if is_alone and os.environ.get("OMP_NUM_THREADS") == "1" and not launcher_was_told("OMP_NUM_THREADS"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


@contextmanager
def cublas_as_prepared() -> Iterator[None]:
    """For making a Trainer, which with `full_determinism` gives cuBLAS another work space than `prepare_process` has, and has
    the host wait for every launch. cuBLAS reads the variable at its first use: where a micro-batch is tried, that is before
    there is a Trainer, and where a run goes on, after, so that the two would not compute alike. Waiting changes no number."""
    names = (_CUBLAS, "CUDA_LAUNCH_BLOCKING")
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def keep_freed_memory() -> None:
    """Has glibc keep what is freed for the next tensor, whatever its size, unless the environment says something of that.

    Otherwise each large tensor, such as a step's logits, is mapped anew and cleared by the kernel: a fifth of a step of a model
    of 1M parameters. Does nothing where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)


def engine_name(accelerator: Accelerator) -> str:
    """`plain`, `ddp`, or `zero` with its stage, 0 to 3."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return f"zero{accelerator.state.deepspeed_plugin.zero_stage}"
    return "ddp" if accelerator.num_processes > 1 else "plain"


def _precision(accelerator: Accelerator) -> str:
    """What products are computed in: `float32`, `tf32`, `bfloat16` or `float16`."""
    half = {"fp16": "float16", "bf16": "bfloat16"}.get(accelerator.mixed_precision)
    return half or ("tf32" if accelerator.device.type == "cuda" and _is_tf32() else "float32")


def _is_tf32() -> bool:
    products = torch.backends.cuda.matmul
    # transformers and accelerate set it by different interfaces, and then torch refuses to be asked by the old one.
    if hasattr(products, "fp32_precision"):
        return products.fp32_precision == "tf32"
    return products.allow_tf32


def keep_float32_whole(arguments: TrainingArguments) -> None:
    """Holds float32 on a GPU, for after the accelerator is made, which turns TF32 on for a model that is compiled: not in
    products where the recipe says `training.tf32: false`, and not in convolutions where products have none."""
    if arguments.device.type != "cuda":
        return
    # By the older interface: it sets what the newer one reads, too, and the other way around torch could not be asked any more.
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    if arguments.tf32 is False:
        products.allow_tf32 = False
    if not _is_tf32():
        convolutions.allow_tf32 = False


def _compiled_with(accelerator: Accelerator) -> str | None:
    """The backend of torch.compile; None when the model is not compiled."""
    plugin = accelerator.state.dynamo_plugin
    return None if plugin.disable or plugin.backend == DynamoBackend.NO else plugin.backend.value.lower()


def used(trainer: Trainer) -> dict[str, str | None]:
    """What the run really computes with, for `anchor.json`: `engine`, `precision`, `torch_compile`, `attention`."""
    return {
        "engine": engine_name(trainer.accelerator),
        "precision": _precision(trainer.accelerator),
        "torch_compile": _compiled_with(trainer.accelerator),
        "attention": attention_of(trainer.model.config),
    }


def check_engine(accelerator: Accelerator, arguments: TrainingArguments) -> None:
    """Raises InputError when the run would not be what the launcher's configuration says, or not what the recipe says.

    A run that believes to be two processes and is one would count its tokens wrong; some flags turn DeepSpeed off in silence.
    """
    wanted = "float16" if arguments.fp16 else "bfloat16" if arguments.bf16 else "float32"
    if (real := _precision(accelerator).replace("tf32", "float32")) != wanted:
        raise InputError(f"accelerate launch: the recipe trains in {wanted}, and the launch makes it {real}")
    backend = arguments.torch_compile_backend.lower() if arguments.torch_compile else None
    if (compiler := _compiled_with(accelerator)) != backend:
        raise InputError(
            f"accelerate launch: the recipe compiles with {backend or 'nothing'}, and the launch with {compiler or 'nothing'}"
        )
    if accelerator.distributed_type not in _ENGINES:
        raise InputError(
            f"accelerate launch: {accelerator.distributed_type.value} is in use, and lmeff does not train with it; use"
            " `lmeff train --launcher ddp`, zero1, zero2 or zero3"
        )
    if accelerator.num_processes != launched_world_size():
        raise InputError(
            f"accelerate launch: {launched_world_size()} processes were started but {accelerator.num_processes} work together;"
            " use `lmeff train --launcher ddp` or another launcher"
        )
    wants_deepspeed = is_on("ACCELERATE_USE_DEEPSPEED")
    if wants_deepspeed and accelerator.distributed_type != DistributedType.DEEPSPEED:
        raise InputError(
            "accelerate launch: DeepSpeed was asked for and is not in use; without a GPU put 'use_cpu: true' into the"
            " configuration file, as in `lmeff train --launcher cpu_zero2`, instead of --cpu or ACCELERATE_USE_CPU"
        )


def run_on_rank_zero(function: Callable[[], T]) -> T:
    """What `function` returns or raises on the first process, on every process: disks may show each of them something else.
    Collective; the result is on every process."""
    PartialState()
    answer: list[Any] = [None, None]
    if launched_rank() == 0:
        try:
            answer[0] = function()
        except (Exception, KeyboardInterrupt) as error:
            answer[1] = error
    if dist.is_initialized():
        dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def forget_engine(trainer: Trainer) -> None:
    """Frees a trainer's engine, so that another one can be made in the same process group."""
    trainer.accelerator.free_memory()
    for owner in (trainer, trainer.callback_handler):
        owner.model = owner.optimizer = owner.lr_scheduler = None
    trainer.model_wrapped = trainer.deepspeed = None
    if trainer.is_deepspeed_enabled:
        # The next engine reads its batch size and clipping from its own arguments.
        reset_accelerator_state()
    free_memory()


def free_memory() -> None:
    """Gives back what nothing refers to any more, or only itself, as models and trainers do."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def loss_scale(accelerator: Accelerator, wrapped: torch.nn.Module) -> dict[str, float] | None:
    """The state of float16 loss scaling; None in other precisions."""
    if accelerator.scaler is not None:
        return {"scale": accelerator.scaler.get_scale()} | accelerator.scaler.state_dict()
    scaler = _zero_scaler(wrapped)
    return None if scaler is None else {"scale": scaler.cur_scale} | _numbers(scaler)


def set_loss_scale(accelerator: Accelerator, wrapped: torch.nn.Module, saved: Mapping[str, Any]) -> None:
    """Goes on with the scale of a checkpoint; with its counters too when the same engine wrote them."""
    state, same_engine = saved["loss_scale"], saved["engine"] == engine_name(accelerator)
    if state is None:
        return
    if accelerator.scaler is not None:
        kept = {key: state[key] for key in accelerator.scaler.state_dict() if key in state} if same_engine else {}
        accelerator.scaler.load_state_dict(accelerator.scaler.state_dict() | kept | {"scale": state["scale"]})
    elif (scaler := _zero_scaler(wrapped)) is not None:
        for key, value in state.items() if same_engine else ():
            if key in _numbers(scaler):
                setattr(scaler, key, value)
        scaler.cur_scale = state["scale"]


def _zero_scaler(wrapped: torch.nn.Module) -> Any:
    scaler = getattr(getattr(wrapped, "optimizer", None), "loss_scaler", None)
    return scaler if getattr(scaler, "dynamic", False) else None


def _numbers(scaler: Any) -> dict[str, float]:
    return {key: value for key, value in vars(scaler).items() if isinstance(value, int | float)}
