"""`training:` against the transformers that is installed."""

import dataclasses
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from lmeff.recipe.sections.training import (
    ALLOWED,
    REFUSED,
    allowed_fields,
    check_training,
    installed_fields,
    refusal,
)

ROOT = Path(__file__).parents[2]

GOOD = {
    "max_grad_norm": 0.5,
    "bf16": False,
    "fp16": False,
    "full_determinism": False,
    "use_cache": False,
    "debug": "underflow_overflow",
    "skip_memory_metrics": True,
    "torch_empty_cache_steps": 5,
    "torch_compile": False,
    "use_liger_kernel": False,
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "logging_strategy": "steps",
    "logging_steps": 10,
    "logging_first_step": True,
    "log_level": "detail",
    "log_level_replica": "critical",
    "log_on_each_node": False,
    "disable_tqdm": True,
    "report_to": ["none"],
    "run_name": "x",
    "project": "x",
    "ddp_find_unused_parameters": False,
    "ddp_timeout": 60,
}


@pytest.fixture(scope="module")
def training_arguments():
    return pytest.importorskip("transformers").TrainingArguments


def test_the_source_and_the_class_have_the_same_fields(training_arguments):
    assert set(installed_fields()) == {field.name for field in dataclasses.fields(training_arguments) if field.init}


def test_every_field_is_either_taken_or_refused_for_a_reason():
    for name in installed_fields():
        tables = [ALLOWED, " ".join(REFUSED.values())]
        taken, refused = (any(fnmatchcase(name, pattern) for pattern in table.split()) for table in tables)
        assert taken != refused, f"{name}: decide who owns it"


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("seed", "'seed'"),
        ("data_seed", "'seed'"),
        ("per_device_train_batch_size", "'batch:'"),
        ("per_device_eval_batch_size", "'evaluation:'"),
        ("gradient_accumulation_steps", "'batch:'"),
        ("auto_find_batch_size", "'batch:'"),
        ("max_steps", "'anchors.tokens'"),
        ("num_train_epochs", "'corpus.epochs'"),
        ("save_steps", "'checkpoints:'"),
        ("ignore_data_skip", "'checkpoints:'"),
        ("optim", "'optimizer:'"),
        ("optim_target_modules", "'optimizer:'"),
        ("adam_beta1", "'optimizer:'"),
        ("warmup_steps", "'schedule:'"),
        ("lr_scheduler_type", "'schedule:'"),
        ("hub_token", "'publish:'"),
        ("eval_strategy", "'evaluation:'"),
        ("bf16_full_eval", "'evaluation:'"),
        ("output_dir", "'paths.outputs'"),
        ("deepspeed", "accelerate launch"),
        ("fsdp_config", "accelerate launch"),
        ("use_cpu", "accelerate launch"),
        ("ddp_backend", "accelerate launch"),
        ("dataloader_num_workers", "seed and step"),
        ("train_sampling_strategy", "seed and step"),
        ("neftune_noise_alpha", "cross-entropy"),
        ("logging_nan_inf_filter", "NaN"),
        ("overwrite_output_dir", "removed"),
        ("evaluation_strategy", "'evaluation.at_anchors'"),
    ],
)
def test_owners(name, owner):
    assert owner in refusal(name)


def test_what_is_accepted_here_is_accepted_by_the_trainer(training_arguments, tmp_path):
    values, problems = check_training(GOOD)
    assert (values, problems) == (GOOD, {})
    training_arguments(output_dir=str(tmp_path), use_cpu=True, **values)


def test_numbers_written_as_text_become_numbers():
    values, problems = check_training(
        {"max_grad_norm": "5e-1", "logging_steps": "1k", "run_name": "3e-4", "ddp_timeout": "1_800"}
    )
    assert problems == {}
    assert values == {"max_grad_norm": 0.5, "logging_steps": 1000, "run_name": "3e-4", "ddp_timeout": 1800}


def test_allowed_fields_are_fields():
    assert {"max_grad_norm", "bf16", "torch_compile_mode", "trackio_space_id"} <= set(allowed_fields())
    assert set(allowed_fields()) <= set(installed_fields())


@pytest.mark.medium
def test_without_transformers_there_is_one_line_and_no_traceback():
    code = (
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name: None if name == 'transformers' else find(name);"
        "from lmeff.recipe.sections.training import check_training; print(check_training({'bf16': 'auto'})[1])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "transformers is not installed" in shown
