"""Everything of other packages that they do not promise to keep: private names, and names that are replaced in their modules.

No other module of lmeff uses such a name; a test looks for them. Another test says that each of `NAMES` exists in the installed
versions, so that a version without it is refused by a failing test and not by a wrong run. Packages are imported inside the
functions, so that whoever needs one of these functions does not load the others' packages.
"""

import argparse
import atexit
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

IN_SUBCLASSES: Mapping[str, tuple[str, ...]] = {
    # Checkpoints are ours, in one form for every engine: how one is written and read, and what is made anew before the first
    # step. The norm is seen before a broken step is left out.
    "transformers.Trainer": (
        "_get_grad_norm",
        "_load_from_checkpoint",
        "_load_rng_state",
        "_prepare_for_training",
        "_prepare_input",
        "_save_checkpoint",
    ),
    # Answers are scored by our own passes; where a model does not allow that, lm-eval's are called.
    "lm_eval.models.huggingface.HFLM": ("_encode_pair", "_get_backend", "_loglikelihood_tokens"),
    # Documented by evaluate: this is how a metric is written.
    "evaluate.Metric": ("_compute", "_info"),
}
"""Private methods that our subclasses override or call, by the class they belong to."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "accelerate.state.AcceleratorState": ("_reset_state",),
    "accelerate.utils.other": ("is_deepspeed_available",),
    "argparse": ("_SubParsersAction",),
    "argparse.ArgumentParser": ("_actions", "_option_string_actions"),
    "atexit": ("_run_exitfuncs",),
    "deepspeed.runtime.zero.stage_1_and_2.DeepSpeedZeroOptimizer": (
        "_hp_optimizer_states_linked",
        "_lazy_init_hp_params_optimizer_state",
    ),
    "lm_eval.api.task": ("tqdm",),
    "torch": ("_dynamo", "cumsum"),
    "torch._dynamo.exc": ("TorchDynamoException",),
    "torch.nn.Module": ("_parameters",),
    "torch.ops.mkldnn": ("_is_mkldnn_bf16_supported", "_linear_pointwise", "_reorder_linear_weight"),
    "torch.optim.lr_scheduler.LRScheduler": ("_last_lr",),
    "trackio.run.Run": ("_next_step",),
    "transformers.PretrainedConfig": ("_attn_implementation",),
    "transformers.PreTrainedModel": ("_no_split_modules", "_supports_sdpa", "_tied_weights_keys"),
    "transformers.Trainer": ("_globalstep_last_logged", "_tr_loss"),
    "transformers.TrainingArguments": ("_n_gpu",),
    "transformers.integrations.deepspeed": ("_hf_deepspeed_config_weak_ref",),
}
"""What the functions below use, by the module or class it belongs to."""


# ------------------------------------------------------------------ Python


def options_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    """A parser's options by every spelling, such as `-o` and `--output`."""
    return parser._option_string_actions


def subparsers_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of a parser's verbs, by name."""
    (verbs,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return verbs


def run_exit_functions() -> None:
    """Does what the interpreter's own end would do, for a process that is left without it."""
    atexit._run_exitfuncs()


# ------------------------------------------------------------------ accelerate and DeepSpeed


def leave_deepspeed_unimported() -> None:
    """For a launch without DeepSpeed, which accelerate would import to see whether a model is one of its engines: seconds."""
    from accelerate.utils import other

    other.is_deepspeed_available = lambda: False


def reset_accelerator_state() -> None:
    """Lets the next Accelerator read its settings anew, in the process group that there is."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=False)


def link_optimizer_state(zero: Any) -> None:
    """Has every parameter of a ZeRO 1 or 2 optimizer know its pieces of the optimizer's state, again if it did before."""
    zero._hp_optimizer_states_linked = False
    zero._lazy_init_hp_params_optimizer_state()


@contextmanager
def models_loaded_whole() -> Iterator[None]:
    """Under ZeRO-3 training transformers would scatter every model it loads; inside, it does not."""
    from transformers.integrations import deepspeed

    reference = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = reference


# ------------------------------------------------------------------ Trainer


def use_one_gpu(arguments: "TrainingArguments") -> None:
    """Without a launcher, several GPUs would become one DataParallel process and multiply the batch."""
    arguments._n_gpu = min(arguments.n_gpu, 1)


def loss_sum(trainer: "Trainer") -> "torch.Tensor":
    """This process's sum of losses for the next log, a scalar that may be written to."""
    return trainer._tr_loss


def last_logged_step(trainer: "Trainer") -> int:
    """The step after which `loss_sum` began."""
    return trainer._globalstep_last_logged


def set_last_logged_step(trainer: "Trainer", step: int) -> None:
    """Lets the next log be a mean over the steps after `step`."""
    trainer._globalstep_last_logged = step


def set_learning_rates(schedule: "torch.optim.lr_scheduler.LRScheduler", step: int, rates: Iterable[float]) -> None:
    """Puts a schedule at `step`, with a rate for each group of the optimizer, which get them too."""
    schedule.last_epoch, schedule._last_lr = step, list(rates)
    for group, rate in zip(schedule.optimizer.param_groups, schedule._last_lr, strict=True):
        group["lr"] = rate


# ------------------------------------------------------------------ models


def attention_of(config: "PretrainedConfig") -> str | None:
    """The attention that a model computes with, such as `sdpa`."""
    return config._attn_implementation


def set_attention(config: "PretrainedConfig", name: str) -> None:
    """Has a model compute with a registered attention, without the checks of `set_attn_implementation`, which look for the
    name among those of a package or the Hub."""
    config._attn_implementation = name


def layer_classes(model: "PreTrainedModel") -> Iterable[str]:
    """The names of the classes of a model's layers; none for a model that does not name them."""
    return model._no_split_modules or ()


def supports_sdpa(model_class: "type[PreTrainedModel]") -> bool:
    """Whether models of this class call transformers' attention function, by its own word."""
    return bool(model_class._supports_sdpa)


def has_tied_weights(model: "PreTrainedModel") -> bool:
    """Whether a model knows weights that it can take from others, such as the head from the input embedding."""
    return bool(model._tied_weights_keys)


# ------------------------------------------------------------------ torch


def use_running_sums_of_fixed_order() -> None:
    """Replaces `torch.cumsum` for real numbers on a GPU while only deterministic algorithms are allowed. There torch computes
    them, since 2.6, by a table of all pairs of places: as many times the memory as there are places, 256 in a Mamba's chunk."""
    import torch

    stock = torch.cumsum
    if stock.__module__ == __name__:
        return  # has been replaced

    def cumsum(input: "torch.Tensor", dim: int, *, dtype: "torch.dtype | None" = None, out: Any = None) -> Any:
        if out is not None or input.ndim == 0 or not sums_by_table(input, dtype):
            return stock(input, dim, dtype=dtype, out=out)
        if dtype is None and torch.is_autocast_enabled(input.device.type):
            dtype = torch.float32  # as autocast has it
        return running_sum(input if dtype is None else input.to(dtype), dim)

    torch.cumsum = cumsum


def sums_by_table(numbers: "torch.Tensor", dtype: "torch.dtype | None") -> bool:
    """Whether torch would compute running sums by a table."""
    import torch

    is_real = (dtype or numbers.dtype).is_floating_point
    return numbers.is_cuda and is_real and torch.are_deterministic_algorithms_enabled()


def running_sum(numbers: "torch.Tensor", dim: int) -> "torch.Tensor":
    """What `cumsum` gives, but for rounding, by additions of whole tensors (Hillis & Steele 1986): their order is fixed, in the
    backward pass too."""
    import torch

    sums, width = numbers.movedim(dim, -1), 1
    while width < sums.shape[-1]:
        shifted = torch.nn.functional.pad(sums[..., :-width], (width, 0))
        sums, width = sums + shifted, 2 * width
    return sums.movedim(-1, dim)


def compilation_error() -> type[Exception]:
    """What torch.compile raises where it cannot compile."""
    from torch._dynamo.exc import TorchDynamoException

    return TorchDynamoException


def own_weight(module: "torch.nn.Module") -> "torch.Tensor | None":
    """A module's parameter `weight`; None where the weight is computed from others, as in pruned layers."""
    return module._parameters.get("weight")


def has_onednn_linear() -> bool:
    """Whether this torch has oneDNN's linear layers."""
    import torch

    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def onednn_has_bfloat16() -> bool:
    """Whether the processor has products in bfloat16 that oneDNN uses."""
    import torch

    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def onednn_linear(weight: "torch.Tensor", bias: "torch.Tensor | None") -> "Callable[[torch.Tensor], torch.Tensor]":
    """A linear layer with a copy of `weight` (out, in) in the order in which oneDNN reads it."""
    import torch

    return partial(_onednn_linear, torch.ops.mkldnn._reorder_linear_weight(weight, None), bias)


def _onednn_linear(weight: "torch.Tensor", bias: "torch.Tensor | None", features: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.ops.mkldnn._linear_pointwise(features, weight, bias, "none", [], "")


# ------------------------------------------------------------------ lm-eval and trackers


@contextmanager
def without_bars_of_tasks() -> Iterator[None]:
    """Inside, lm-eval shows no bar for each task, of which there may be 67."""
    from lm_eval.api import task
    from tqdm import tqdm

    before = task.tqdm
    task.tqdm = partial(tqdm, disable=True)
    try:
        yield
    finally:
        task.tqdm = before


def next_step_of(run: Any) -> int:
    """The step at which a trackio run that goes on would log next."""
    return run._next_step
