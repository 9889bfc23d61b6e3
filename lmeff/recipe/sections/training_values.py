"""Which values of `training:` fields can be used, where transformers, accelerate or torch would judge them in the middle of a
run. What this machine lacks is judged in `lmeff/recipe/machine.py`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from lmeff.recipe.wording import did_you_mean, join_with_or, show

TRACKERS: dict[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub", "mlflow"),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard|tensorboardX",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""The trackers that transformers reports to, with the packages each needs; `a|b` is either of two."""

COMPILE_BACKENDS: dict[str, tuple[str, ...]] = {
    "inductor": (),
    "eager": (),
    "aot_eager": (),
    "cudagraphs": (),
    "tensorrt": ("torch_tensorrt",),
    "tvm": ("tvm",),
}
"""The backends of torch.compile that both accelerate and torch still know, with the packages each needs."""
_GONE_BACKENDS = (
    "aot_ts_nvfuser",
    "nvprims_nvfuser",
    "ofi",
    "fx2trt",
    "onnxrt",
    "aot_torchxla_trace_once",
    "torchxla_trace_once",
    "hpu_backend",
    "neuron",
)
_COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

_CHECKPOINTING: dict[str, str] = {
    "use_reentrant": "true or false",
    "preserve_rng_state": "true or false",
    "early_stop": "true or false",
    "debug": "true or false",
    "determinism_check": "'default' or 'none'",
    "every_n_layers": "a whole number above 0",
    "offload": "true or false",
}
"""What `activation_checkpointing_kwargs` may hold: options of torch.utils.checkpoint, and two of transformers."""
_WITH_REENTRANT = ("use_reentrant", "preserve_rng_state", "every_n_layers", "offload")
LIGER_KERNELS = ("rope", "cross_entropy", "fused_linear_cross_entropy", "rms_norm", "swiglu")
"""Liger's kernels; which of them a family has is said by its section (`lmeff/recipe/sections/model/`)."""
_MAX_TIMEOUT_SECONDS = 10**9
_MAX_BUCKET_MB = 10**6
"""torch counts the bytes of a bucket in 64 bits; no bucket is a terabyte."""
_ABOVE_ZERO = ("logging_steps", "torch_empty_cache_steps", "ddp_timeout", "ddp_bucket_cap_mb")
_NOT_NEGATIVE = ("max_grad_norm",)


def check_value(name: str, value: Any) -> Any:
    """The value of a field, of a kind that the field takes, as TrainingArguments wants it. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(name, value)
    if check := _CHECKS.get(name):
        return check(value)
    return value


def check_together(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong between fields that are right by themselves, by field."""
    problems = {}
    if values.get("fp16") is True and values.get("bf16") is True:
        problems["fp16"] = "cannot be true together with bf16"
    for new in ("activation_checkpointing", "activation_checkpointing_kwargs"):
        old = new.replace("activation", "gradient")
        if values.get(new) is not None and values.get(old) is not None and values[new] != values[old]:
            problems[old] = f"is the older name of {new}, which has another value; give one of them"
    is_compiled = values.get("torch_compile", False)
    for name in ("torch_compile_backend", "torch_compile_mode"):
        if values.get(name) is not None and is_compiled is False and "torch_compile" in values:
            problems[name] = "has no meaning with torch_compile: false; transformers would compile all the same"
    backend = compile_backend(values)
    if values.get("torch_compile_mode") not in (None, "default") and backend not in (None, "inductor"):
        problems["torch_compile_mode"] = f"is for the backend 'inductor', not for {show(backend)}"
    if values.get("liger_kernel_config") and values.get("use_liger_kernel") is not True:
        problems["liger_kernel_config"] = "has no meaning without use_liger_kernel: true"
    return problems


def compile_backend(training: Mapping[str, Any]) -> str | None:
    """What a recipe compiles the model with; None when it does not. A backend or a mode alone asks for it, too."""
    named = [training.get(name) for name in ("torch_compile_backend", "torch_compile_mode")]
    if not training.get("torch_compile") and named == [None, None]:
        return None
    return (named[0] or "inductor").lower()


def trackers(training: Mapping[str, Any]) -> list[str]:
    """The trackers that a recipe names."""
    wanted = training.get("report_to", "none")
    names = [wanted] if isinstance(wanted, str) else wanted or []
    return [name for name in names if name in TRACKERS]


def _check_range(name: str, value: int | float) -> None:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    if name in _ABOVE_ZERO and value <= 0:
        raise ValueError(f"must be above 0, not {show(value)}")
    if name in _NOT_NEGATIVE and value < 0:
        raise ValueError(f"must be at least 0, not {show(value)}")
    if name == "logging_steps" and value > 1 and value != int(value):
        raise ValueError(f"must be whole, or a share of the run below 1, not {show(value)}")
    if name == "ddp_timeout" and value > _MAX_TIMEOUT_SECONDS:
        raise ValueError(f"must be seconds, {_MAX_TIMEOUT_SECONDS:,} at most, not {show(value)}")
    if name == "ddp_bucket_cap_mb" and value > _MAX_BUCKET_MB:
        raise ValueError(f"must be megabytes, {_MAX_BUCKET_MB:,} at most, not {show(value)}")


def _one_of(value: object, choices: tuple[str, ...]) -> str:
    return f"must be {join_with_or(map(repr, choices))}, not {show(value)}" + (
        did_you_mean(value, choices) if isinstance(value, str) else ""
    )


def _report_to(value: str | list[str] | None) -> str | list[str]:
    if value is None:
        return "none"
    names = [value] if isinstance(value, str) else value
    for name in names:
        if name not in (*TRACKERS, "none", "all"):
            raise ValueError(_one_of(name, ("none", "all", *TRACKERS)))
        if name in ("none", "all") and len(names) > 1:
            raise ValueError(f"'{name}' stands alone, not in a list with others")
    return value


def _compile_backend(value: str | None) -> str | None:
    if value is None:
        return None
    name = value.lower()
    if name in _GONE_BACKENDS:
        raise ValueError(f"{show(value)} is not in the torch that lmeff runs with; use 'inductor'")
    if name == "no":
        raise ValueError("'no' compiles nothing; write torch_compile: false instead")
    if name not in COMPILE_BACKENDS:
        raise ValueError(_one_of(value, tuple(COMPILE_BACKENDS)))
    return value


def _compile_mode(value: str | None) -> str | None:
    if value is not None and value not in _COMPILE_MODES:
        raise ValueError(_one_of(value, _COMPILE_MODES))
    return value


def _checkpointing(values: dict[str, Any] | None) -> dict[str, Any] | None:
    for key, value in (values or {}).items():
        if key not in _CHECKPOINTING:
            raise ValueError(f"has no '{key}'{did_you_mean(key, _CHECKPOINTING)}; known: {', '.join(_CHECKPOINTING)}")
        match key:
            case "determinism_check":
                fits = value in ("default", "none")
            case "every_n_layers":
                fits = type(value) is int and value > 0
            case _:
                fits = isinstance(value, bool)
        if not fits:
            raise ValueError(f"{key} must be {_CHECKPOINTING[key]}, not {show(value)}")
    if values and values.get("use_reentrant") is not False:
        for key in values:
            if key not in _WITH_REENTRANT:
                raise ValueError(f"{key} needs use_reentrant: false beside it")
        if not values.keys() & {"use_reentrant"} and values.keys() - {"every_n_layers", "offload"}:
            raise ValueError("torch wants 'use_reentrant' beside the others; write use_reentrant: false")
    return values


def _liger(values: dict[str, Any] | None) -> dict[str, Any] | None:
    for key, value in (values or {}).items():
        if key not in LIGER_KERNELS:
            raise ValueError(f"has no '{key}'{did_you_mean(key, LIGER_KERNELS)}; known: {', '.join(LIGER_KERNELS)}")
        if not isinstance(value, bool):
            raise ValueError(f"{key} must be true or false, not {show(value)}")
    if values and values.get("cross_entropy") and values.get("fused_linear_cross_entropy"):
        raise ValueError("cross_entropy and fused_linear_cross_entropy cannot both be true")
    return values


def _static_space(value: str | bool | None) -> str | bool | None:
    if value is True:
        raise ValueError("must be the name of a Space, false or null, not true")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "report_to": _report_to,
    "torch_compile_backend": _compile_backend,
    "torch_compile_mode": _compile_mode,
    "activation_checkpointing_kwargs": _checkpointing,
    "gradient_checkpointing_kwargs": _checkpointing,
    "liger_kernel_config": _liger,
    "trackio_static_space_id": _static_space,
}
