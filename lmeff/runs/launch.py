"""Makes the recipe decide over the `accelerate` configuration and the environment, before anything reads them. No torch.

accelerate turns its configuration files, the default one included, into environment variables of the processes it starts. A
variable that contradicts the recipe is changed or removed, and one line says so; what cannot be changed, such as an engine that
lmeff does not train with, is refused.
"""

import base64
import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmeff.environment import TF32, asks_for_cpu, is_on
from lmeff.errors import InputError
from lmeff.logs import warn
from lmeff.paths import expanded
from lmeff.recipe.machine import check_machine
from lmeff.recipe.reading import Resolved
from lmeff.runs.process import launched_rank

_WHO = "accelerate launch"
_PRECISION = "training.bf16 and training.fp16 of the recipe decide"
_ENGINES = {
    "ACCELERATE_USE_FSDP": "FSDP (fsdp_config, use_fsdp)",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM (megatron_lm_config)",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism (parallelism_config)",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker",
}
_OFFLOAD = ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE")

_DEEPSPEED_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
_OWNED = {
    "train_batch_size": "batch.tokens",
    "train_micro_batch_size_per_gpu": "batch.micro",
    "gradient_accumulation_steps": "batch.micro",
    "gradient_clipping": "training.max_grad_norm",
}
"""Keys of a DeepSpeed file that the recipe decides, filled in by the Trainer from it."""
_REPLACED = {"optimizer": "optimizer:", "scheduler": "schedule:"}
_KEPT = (
    "zero_optimization",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
    "activation_checkpointing",
    "aio",
    "checkpoint",
    "nebula",
    "comms_logger",
    "flops_profiler",
    "steps_per_print",
    "wall_clock_breakdown",
    "dump_state",
    "memory_breakdown",
    "tensorboard",
    "wandb",
    "csv_monitor",
    "comet",
)
"""Sections of a DeepSpeed file that do not change what is computed."""


def override_launcher(resolved: Resolved) -> None:
    """Makes the environment of this process say what the recipe says; the first process prints what is not used.

    Call it before accelerate and transformers are imported. Raises InputError for what cannot be overridden, and for what the
    recipe asks of a machine that cannot do it.
    """
    notes = override_environment()
    check_machine(resolved)
    if is_on("ACCELERATE_USE_DEEPSPEED") and resolved.recipe.optimizer.name == "schedule_free_adamw":
        where = resolved.provenance["optimizer.name"]
        raise InputError(
            f"{where}: optimizer.name: 'schedule_free_adamw' does not run under DeepSpeed ZeRO, which keeps the weights to"
            " average apart from the model's; use DDP (`lmeff train --launcher ddp`)"
        )
    for line in notes if launched_rank() == 0 else ():
        warn(line)


def override_environment() -> list[str]:
    """Changes the environment alone; returns a line for each value of it that is not used."""
    asked = [what for variable, what in _ENGINES.items() if is_on(variable)]
    if asked:
        raise InputError(
            f"{_WHO}: {', '.join(asked)} is asked for, and lmeff does not train with it; use data parallel or DeepSpeed ZeRO"
            " (`lmeff train --launcher ddp`, zero1, zero2 or zero3)"
        )
    notes = [*_override_device(), *_override_precision(), *_override_compile()]
    if is_on("ACCELERATE_USE_DEEPSPEED"):
        notes += _override_deepspeed()
    elif (steps := os.environ.pop("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")) not in ("1", "auto"):
        notes.append(_not_used(f"gradient_accumulation_steps {steps}", "batch.micro of the recipe decides"))
    return notes


def _not_used(what: str, why: str, who: str = _WHO) -> str:
    return f"{who}: {what} is not used: {why}"


def _override_device() -> Iterator[str]:
    # Only accelerate reads this variable: the Trainer would put the model on another device.
    device = os.environ.pop("ACCELERATE_TORCH_DEVICE", "")
    if device.lower() == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    elif device:
        yield _not_used(f"ACCELERATE_TORCH_DEVICE={device}", "CUDA_VISIBLE_DEVICES chooses GPUs", "the environment")


def _override_precision() -> Iterator[str]:
    if (precision := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
        yield _not_used(f"mixed_precision {precision}", _PRECISION)
    for variable in [name for name in os.environ if name.startswith("ACCELERATE_FP8_")]:
        del os.environ[variable]
    for variable in ("ACCELERATE_DOWNCAST_BF16", *TF32):
        if (value := os.environ.pop(variable, None)) not in (None, "", "0", "no", "false"):
            why = "training.tf32 of the recipe decides" if variable in TF32 else _PRECISION
            yield _not_used(f"{variable}={value}", why, "the environment")


def _override_compile() -> Iterator[str]:
    backend = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no")
    for variable in [name for name in os.environ if name.startswith("ACCELERATE_DYNAMO_")]:
        del os.environ[variable]
    if backend.lower() != "no":
        yield _not_used(f"dynamo_backend {backend.lower()}", "training.torch_compile of the recipe decides")


def _override_deepspeed() -> Iterator[str]:
    if find_spec("deepspeed") is None:
        raise InputError(f"{_WHO}: DeepSpeed is asked for and not installed: pip install deepspeed")
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"  # the only spelling that accelerate takes for yes
    if asks_for_cpu():
        raise InputError(
            f"{_WHO}: DeepSpeed is asked for, and ACCELERATE_USE_CPU turns it off; without a GPU put 'use_cpu: true' into the"
            " configuration file, as in `lmeff train --launcher cpu_zero2`, instead of --cpu or ACCELERATE_USE_CPU"
        )
    for variable in _OFFLOAD:
        if (device := os.environ.get(variable, "none")) != "none":
            raise InputError(_no_offload(_WHO, variable.removeprefix("ACCELERATE_DEEPSPEED_").lower(), device))
    for variable, key in (
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "gradient_accumulation_steps"),
        ("ACCELERATE_GRADIENT_CLIPPING", "gradient_clipping"),
    ):
        if (value := os.environ.pop(variable, "auto")) not in ("auto", "none"):
            yield _not_used(f"{key} {value}", f"{_OWNED[key]} of the recipe decides")
    # Without this, stage 3 does not gather the whole model when a revision is saved.
    os.environ["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] = "true"
    file = os.environ.get(_DEEPSPEED_FILE, "none")
    if file != "none":
        os.environ.pop("ACCELERATE_CONFIG_DS_FIELDS", None)  # makes accelerate refuse values that are overridden below
        values = _read_deepspeed(file)
        yield from _override_deepspeed_file(file, values)
        # accelerate takes a file or its text in base64: the text is what was checked here, whatever the file becomes.
        os.environ[_DEEPSPEED_FILE] = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    elif (stage := os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")) not in ("1", "2", "3"):
        raise InputError(_no_stage(_WHO, stage))


def _read_deepspeed(file: str) -> dict[str, Any]:
    try:
        values = json.loads(Path(expanded(file)).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{_WHO}: deepspeed_config_file: {file}: cannot be read ({why})") from None
    except ValueError as error:
        raise InputError(f"{_WHO}: deepspeed_config_file: {file}: not JSON ({error})") from None
    if not isinstance(values, dict) or not isinstance(values.get("zero_optimization"), dict):
        raise InputError(f"{_WHO}: deepspeed_config_file: {file}: needs 'zero_optimization' with a stage of 1, 2 or 3")
    return values


def _override_deepspeed_file(file: str, values: dict[str, Any]) -> Iterator[str]:
    """Changes the values of a DeepSpeed file so that the recipe decides what it names. Raises InputError for what would change
    the computation and has no key in a recipe."""
    zero = values["zero_optimization"]
    if (stage := zero.get("stage", 0)) not in (1, 2, 3):
        raise InputError(_no_stage(file, stage))
    for key in ("offload_optimizer", "offload_param"):
        if (device := _section(zero, key).get("device", "none")) != "none":
            raise InputError(_no_offload(file, f"zero_optimization.{key}", device))
    quantized = [
        f"zero_optimization.{key}" for key, value in zero.items() if key.startswith("zero_quantized") and value
    ]
    unknown = [key for key in values if key not in {*_KEPT, *_OWNED, *_REPLACED, "fp16", "bf16", "amp"}]
    for key in [*quantized, *(key for key in unknown if _says_something(values[key]))]:
        raise InputError(
            f"{file}: {key}: it would change what is computed, and the recipe has no word for it; leave it out"
        )
    if zero.get("stage") == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    for key, owner in _OWNED.items():
        if (value := values.get(key, "auto")) != "auto":
            yield _not_used(f"{key} {value}", f"{owner} of the recipe decides", file)
        values[key] = "auto"
    for key, owner in _REPLACED.items():
        if key in values:
            yield _not_used(f"the section '{key}'", f"'{owner}' of the recipe decides", file)
            del values[key]
    for key in ("fp16", "bf16", "amp"):
        enabled = _section(values, key).get("enabled", "auto")
        if enabled not in ("auto", False):
            yield _not_used(f"{key}.enabled {str(enabled).lower()}", _PRECISION, file)
        if key in values:
            values[key] = {**_section(values, key), "enabled": "auto"}
    values.pop("amp", None)


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    return found if isinstance(found := values.get(key), dict) else {}


def _says_something(value: object) -> bool:
    """Whether a section of a DeepSpeed file does anything: most have a switch."""
    return value.get("enabled", True) is not False if isinstance(value, dict) else value not in (None, False, "auto")


def _no_stage(who: str, stage: object) -> str:
    return f"{who}: ZeRO stage {stage} is none of 1, 2 and 3; to divide nothing use `lmeff train --launcher ddp`"


def _no_offload(who: str, key: str, device: str) -> str:
    return f"{who}: {key} is {device}, and the recipe's optimizers do not run there; set it to none"
