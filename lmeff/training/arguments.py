"""A recipe as `transformers.TrainingArguments`."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from lmeff.environment import asks_for_cpu
from lmeff.errors import InputError
from lmeff.formats.plan import PlanPart
from lmeff.library_internals import use_one_gpu
from lmeff.models.device import choose_device
from lmeff.recipe.schema import Recipe

_SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup", "wsd": "warmup_stable_decay"}


def uses_cpu() -> bool:
    """Whether this process trains on the CPU: there is no accelerator, or the launcher said so."""
    return asks_for_cpu() or not torch.accelerator.is_available()


def _precision(recipe: Recipe) -> dict[str, bool]:
    wanted = recipe.training.get("bf16", "auto")
    if wanted == "auto":
        wanted = (
            not recipe.training.get("fp16")
            and choose_device().type == "cuda"
            and torch.cuda.is_bf16_supported(including_emulation=False)
        )
    return {"bf16": bool(wanted)}


def half_precision(recipe: Recipe) -> torch.dtype | None:
    """The 16-bit type that this process computes in; None for float32."""
    if _precision(recipe)["bf16"]:
        return torch.bfloat16
    return torch.float16 if recipe.training.get("fp16") else None


def training_arguments(
    recipe: Recipe, part: PlanPart, folder: Path, micro_batch: int, accumulation: int
) -> TrainingArguments:
    """The arguments for one process of one part. Fields of the `training:` section are passed on as they are.

    Raises InputError for what this machine cannot do.
    """
    optimizer, checkpoints = recipe.optimizer, recipe.checkpoints
    own: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": part.last_step,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "average_tokens_across_devices": True,
        "seed": recipe.seed,
        # The trainer makes the optimizer itself; a report shows these.
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "lr_scheduler_type": _SCHEDULERS[part.schedule],
        "lr_scheduler_kwargs": {"num_decay_steps": part.decay_steps, "decay_type": recipe.schedule.decay_shape}
        if part.schedule == "wsd"
        else {},
        "warmup_steps": part.warmup_steps,
        "save_strategy": "steps" if checkpoints.every_steps else "no",
        "save_steps": checkpoints.every_steps or 500,
        "eval_strategy": "no",
        "use_cpu": uses_cpu(),
        # The loader starts at the step it is asked for, so nothing has to be skipped.
        "ignore_data_skip": True,
        "remove_unused_columns": False,
        # A NaN must be seen, not replaced by the average of the losses before it.
        "logging_nan_inf_filter": False,
    }
    chosen = {"logging_steps": 10, "report_to": "none", "disable_tqdm": False} | recipe.training | _precision(recipe)
    chosen["full_determinism"] = recipe.is_deterministic
    if chosen.get("fp16") and uses_cpu():
        raise InputError(
            "training.fp16: float16 is for a GPU, and this process trains on the CPU; use bf16, or leave it out"
        )
    try:
        arguments = TrainingArguments(**own | chosen)
    except ValueError as error:  # such as bf16 on a GPU that has none
        raise InputError(f"training: {' '.join(str(error).split())}") from None
    use_one_gpu(arguments)
    return arguments


def look_for_unused_parameters(arguments: TrainingArguments, recipe: Recipe, are_there: bool) -> None:
    """Has DDP look for parameters without a gradient where there are some, and where the recipe says so. Raises InputError when
    there are some and the recipe says no: DDP would wait for them."""
    said = recipe.training.get("ddp_find_unused_parameters")
    if said is False and are_there:
        raise InputError(
            "training.ddp_find_unused_parameters: this model leaves parameters without a gradient, which DDP must look for;"
            " leave it out"
        )
    arguments.ddp_find_unused_parameters = are_there if said is None else said
