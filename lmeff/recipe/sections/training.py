"""`training:` which fields of `transformers.TrainingArguments` a recipe may set, and who owns the others.

The fields are read from the installed source with `ast` (5 ms); importing transformers would take seconds.
"""

import ast
import importlib.util
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from lmeff.quantities import parse_count, parse_number
from lmeff.recipe.sections.training_values import check_together, check_value
from lmeff.recipe.wording import as_requirement, did_you_mean, join_with_or, show

ALLOWED = (
    "max_grad_norm bf16 fp16 tf32 full_determinism use_cache debug skip_memory_metrics torch_empty_cache_steps "
    "torch_compile torch_compile_* use_liger_kernel liger_kernel_config "
    "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs "
    "logging_strategy logging_steps logging_first_step log_level log_level_replica log_on_each_node disable_tqdm "
    "report_to run_name project trackio_* ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers "
    "ddp_static_graph ddp_timeout"
)
# Why, and which fields. The first fit decides, so `per_device_eval_batch_size` is evaluation's and not batch's.
REFUSED = {
    "owned by 'seed' at the top of the recipe": "seed data_seed",
    "owned by 'evaluation:'": "eval_* do_eval do_predict *_full_eval per_device_eval_batch_size prediction_loss_only "
    "metric_for_best_model greater_is_better batch_eval_metrics include_for_metrics",
    "owned by 'batch:' (tokens, micro)": "per_device_*_batch_size gradient_accumulation_steps auto_find_batch_size",
    "owned by 'anchors.tokens', the last of which ends training; 'corpus.epochs' limits the passes": "max_steps "
    "num_train_epochs",
    "owned by 'checkpoints:'; a run that is started again resumes by itself": "save_* load_best_model_at_end "
    "enable_jit_checkpoint resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint",
    "owned by 'optimizer:'": "learning_rate optim optim_* adam_* weight_decay",
    "owned by 'schedule:'": "lr_scheduler_* warmup_*",
    "owned by 'publish:'": "push_to_hub hub_*",
    "owned by 'paths.outputs' and 'name'": "output_dir",
    "owned by the launcher (`lmeff train --launcher ddp`, or an 'accelerate launch' configuration)": "deepspeed fsdp "
    "fsdp_* local_rank use_cpu ddp_backend accelerator_config parallelism_config",
    "fixed by lmeff: which samples a step reads follows from seed and step alone": "dataloader_* remove_unused_columns "
    "train_sampling_strategy length_column_name label_names",
    "fixed by lmeff: tokens are counted as step x batch.tokens": "include_num_input_tokens_seen",
    "fixed by lmeff: the loss is the mean over the global batch": "average_tokens_across_devices",
    "fixed by lmeff: the loss is plain cross-entropy, so that curves compare": "label_smoothing_factor "
    "neftune_noise_alpha",
    "fixed by lmeff: a NaN in the loss must be seen": "logging_nan_inf_filter",
    "fixed by lmeff: a run trains": "do_train",
}
DECIDE_NOTHING = {
    "report_to",
    "run_name",
    "project",
    "disable_tqdm",
    "log_level",
    "log_level_replica",
    "logging_steps",
}
"""Fields that a run may change on its way: they do not decide what is trained."""
_GONE = {
    "overwrite_output_dir": "a run goes on where it stopped",
    "evaluation_strategy": "use 'evaluation.at_anchors'",
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "no_cuda": "use `lmeff train --launcher cpu`",
    "use_mps_device": "the device is found by itself",
    "warmup_ratio": "use 'schedule.warmup' with a share such as 0.02",
    "tokenizer": "use the section 'tokenizer:'",
    "group_by_length": "sequences are packed to one length",
    "include_tokens_per_second": "run.log.jsonl has tokens_per_second",
    "per_gpu_train_batch_size": "use 'batch:'",
    "per_gpu_eval_batch_size": "use 'evaluation.batch_size'",
    "save_safetensors": "safetensors is the only format",
    "half_precision_backend": "use fp16 or bf16",
    "fp16_backend": "use fp16 or bf16",
    "fp16_opt_level": "use fp16 or bf16",
    "jit_mode_eval": "use torch_compile",
    "torchdynamo": "use torch_compile",
    "adafactor": "use 'optimizer.name'",
    "tpu_num_cores": "all cores are used",
    "tpu_metrics_debug": "use debug",
    "past_index": "language models here keep no past",
    "ray_scope": "there is no Ray in here",
    "mp_parameters": "use a launcher: `lmeff train --launcher ddp` or another",
    "sharded_ddp": "use a launcher: `lmeff train --launcher ddp` or another",
    "fsdp_min_num_params": "use a launcher: `lmeff train --launcher ddp` or another",
    "fsdp_transformer_layer_cls_to_wrap": "use a launcher: `lmeff train --launcher ddp` or another",
    "push_to_hub_token": "use 'publish:'",
    "push_to_hub_model_id": "use 'publish:'",
    "push_to_hub_organization": "use 'publish:'",
    "include_inputs_for_metrics": "use 'evaluation:'",
    "dispatch_batches": "which samples a step reads follows from seed and step alone",
    "split_batches": "use 'batch:'",
}

CHOICES = {
    "logging_strategy": ("no", "steps"),  # `epoch` has no meaning for an endless stream
    "log_level": ("passive", "detail", "debug", "info", "warning", "error", "critical"),
    "log_level_replica": ("passive", "detail", "debug", "info", "warning", "error", "critical"),
    "debug": ("", "underflow_overflow", "tpu_metrics_debug"),
    "bf16": ("auto",),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list such as [a, b]",
    "dict": "a mapping of keys",
    "None": "null",
}


@cache
def installed_fields() -> dict[str, frozenset[str]]:
    """The fields of the installed TrainingArguments with their kinds of value; empty without transformers."""
    package = importlib.util.find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return {}
    source = Path(package.submodule_search_locations[0], "training_args.py").read_text(encoding="utf-8")
    start = source.find("\nclass TrainingArguments")
    end = source.find("\n    def __post_init__", start)  # all fields stand before it, and the rest takes 15 ms more
    tree = ast.parse(source[max(0, start) : end if start < end else None])
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            return {ast.unparse(item.target): _kinds(item.annotation) for item in fields}
    return {}


def _kinds(annotation: ast.expr) -> frozenset[str]:
    match annotation:
        case ast.BinOp(left=left, right=right):
            return _kinds(left) | _kinds(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _kinds(inner) | {"None"}
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
            return frozenset().union(*map(_kinds, parts))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant(value=value)):
            return frozenset({type(value).__name__})
        case ast.Subscript(value=inner):
            return _kinds(inner)
        case ast.Constant(value=None):
            return frozenset({"None"})
        case ast.Constant(value=str(text)):
            return _kinds(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in _KINDS:
            return frozenset({name})
    return frozenset({"str"})  # the enums are written as text


def allowed_fields() -> list[str]:
    """The fields a recipe may set."""
    return [name for name in installed_fields() if refusal(name) is None]


def refusal(name: str) -> str | None:
    """Why `training:` does not take this name, with its owner or what to use; None when it is taken."""
    if name not in installed_fields():
        if use := _GONE.get(name):
            return f"transformers has removed it; {use}"
        return f"transformers.TrainingArguments has no such field{did_you_mean(name, installed_fields())}"
    for reason, patterns in REFUSED.items():
        if _fits(name, patterns):
            return reason
    return None if _fits(name, ALLOWED) else "lmeff does not know this field, so it cannot say what it would change"


def is_known(name: str) -> bool:
    """Whether transformers has, or once had, a TrainingArguments field of that name."""
    return name in installed_fields() or name in _GONE


def _fits(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())


def check_training(section: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The section with its numbers as numbers, and what is wrong by field."""
    if section and not installed_fields():
        return section, dict.fromkeys(section, "transformers is not installed, so this cannot be checked")
    values, problems = {}, {}
    for name, value in section.items():
        try:
            if problem := refusal(name):
                raise ValueError(problem)
            values[name] = _checked(name, value)
        except ValueError as error:
            problems[name] = as_requirement(error, value)
            values[name] = value
    right = {name: value for name, value in values.items() if name not in problems}
    problems |= check_together(right)
    return values, problems


def _checked(name: str, value: Any) -> Any:
    """The value as TrainingArguments wants it. Raises ValueError."""
    kinds, choices = installed_fields()[name], CHOICES.get(name, ())
    if "dict" in kinds:
        kinds -= {"str"}  # JSON text and file names are for command lines
    if name == "debug":
        kinds -= {"list"}  # transformers takes a list for options that it has made itself
    if isinstance(value, str):
        if value in choices:
            return value
        if kinds & {"int", "float"}:
            value = _number(value, whole="float" not in kinds)
        elif choices:
            raise ValueError(f"must be {_expected(kinds, choices)}, not {show(value)}{did_you_mean(value, choices)}")
    kind = "None" if value is None else type(value).__name__
    if kind not in kinds and not (kind == "int" and "float" in kinds):
        quotes = (
            "; text that YAML takes for something else needs quotes" if "str" in kinds and value is not None else ""
        )
        raise ValueError(f"must be {_expected(kinds, choices)}, not {show(value)}{quotes}")
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of text")
    return check_value(name, value)


def _number(text: str, whole: bool) -> int | float:
    number = parse_count(text) if whole else parse_number(text)
    return int(number) if number == int(number) else number


def _expected(kinds: frozenset[str], choices: tuple[str, ...]) -> str:
    words = [repr(choice) for choice in choices if choice]
    return join_with_or(
        words + [text for kind, text in _KINDS.items() if kind in kinds and not (words and kind == "str")]
    )
