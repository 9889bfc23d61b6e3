"""Every field that `training:` takes, with values of every kind: refused in one line, or used by the real Trainer."""

import copy
import warnings
from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.recipe import read_recipe
from lmeff.recipe.machine import check_machine
from lmeff.recipe.sections.training import allowed_fields, check_training
from lmeff.recipe.sections.training_values import COMPILE_BACKENDS, TRACKERS

FIELDS = allowed_fields()
ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    0.5,
    1.5,
    3,
    1e30,
    2**70,
    "",
    "foo",
    "no",
    "none",
    "3e-4",
    [],
    ["foo"],
    [1],
    {},
    {"foo": 1},
]
SPECIAL = {
    "report_to": ["tensorbord", ["none", "all"], ["none"], "all", ["wandb", "wandb"], *TRACKERS, [None]],
    "torch_compile_backend": ["inductor", "EAGER", "aot_eager", "nvprims_nvfuser", "onnxrt", *COMPILE_BACKENDS],
    "torch_compile_mode": ["default", "reduce-overhead", "max-autotune", "fast"],
    "log_level": ["debug", "loud"],
    "log_level_replica": ["critical", "passive"],
    "logging_strategy": ["steps", "epoch", "no"],
    "debug": [
        "underflow_overflow",
        "tpu_metrics_debug",
        "underflow_overflow tpu_metrics_debug",
        ["underflow_overflow"],
    ],
    "activation_checkpointing_kwargs": [
        {"use_reentrant": False},
        {"use_reentrant": True},
        {"use_reentrant": False, "determinism_check": "none", "early_stop": False, "preserve_rng_state": False},
        {"use_reentrant": False, "determinism_check": "foo"},
        {"use_reentrant": "yes"},
        {"use_reentrant": True, "debug": True},
        {"preserve_rng_state": False},
        {"early_stop": False},
        {"every_n_layers": 2},
        {"every_n_layers": 0},
        {"context_fn": "foo"},
    ],
    "liger_kernel_config": [{"rope": True}, {"rope": "yes"}, {"swigl": True}],
    "trackio_static_space_id": ["me/space", True],
    "ddp_timeout": [10**9, 10**13],
    "ddp_bucket_cap_mb": [25],
    "torch_empty_cache_steps": [4],
}
SPECIAL["gradient_checkpointing_kwargs"] = SPECIAL["activation_checkpointing_kwargs"]
BESIDE = {
    "activation_checkpointing_kwargs": {"activation_checkpointing": True},
    "gradient_checkpointing_kwargs": {"gradient_checkpointing": True},
}
"""What else it takes for a field to be used at all."""

RECIPE = """
name: odd
corpus: {name: synthetic}
model: {hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2}
batch: {tokens: 64, sequence_length: 8}
anchors: {tokens: [64]}
schedule: {warmup: 0}
"""


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory):
    """Two steps of the real Trainer, with the real model."""
    import torch
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    first = LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=8, **shape))
    rows = torch.randint(32, (8, 8)).tolist()
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})

    def run(values: dict) -> None:
        arguments = TrainingArguments(
            output_dir=str(tmp_path_factory.mktemp("out")),
            use_cpu=True,
            **{"max_steps": 2, "save_strategy": "no", "report_to": "none", "disable_tqdm": True} | values,
        )
        assert arguments.ddp_timeout_delta.total_seconds() > 0
        trainer = Trainer(copy.deepcopy(first), arguments, train_dataset=data)
        trainer.train()
        assert trainer.state.global_step == 2

    return run


def is_refused(folder: Path, section: dict) -> list[str]:
    """The lines that `lmeff plan` and `lmeff.run` have for a recipe with this section."""
    import yaml

    path = folder / "odd.yaml"
    path.write_text(RECIPE + yaml.safe_dump({"training": section}))
    try:
        check_machine(read_recipe(path))
    except InputError as error:
        return list(error.mistakes)
    return []


@pytest.mark.medium
@pytest.mark.parametrize("name", FIELDS)
def test_a_value_is_refused_in_one_line_or_used(name: str, tmp_path: Path, train, monkeypatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    used = 0
    for value in [*ODD, *SPECIAL.get(name, [])]:
        section = {name: value} | BESIDE.get(name, {})
        lines = is_refused(tmp_path, section)
        if lines:
            assert len(lines) == 1, lines
            assert lines[0].startswith(f"{tmp_path}/odd.yaml:"), lines
            assert name in lines[0]
            assert "\n" not in lines[0]
            continue
        values, _ = check_training(section)
        if (
            name.startswith("torch_compile")
            and value not in (False, None)
            and values.get("torch_compile_backend")
            not in (
                "EAGER",
                "eager",
                "aot_eager",
            )
        ):
            continue  # inductor takes a minute; tests/runs/test_launch.py compiles
        used += 1
        values = {key: False if one == "auto" else one for key, one in values.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            train(values)
    assert used, "no value of it was tried"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"report_to": "tensorbord"}, "did you mean 'tensorboard'?"),
        ({"report_to": ["none", "wandb"]}, "'none' stands alone"),
        ({"torch_compile_backend": "foo"}, "must be 'inductor'"),
        ({"torch_compile_backend": "onnxrt"}, "is not in the torch"),
        ({"torch_compile": False, "torch_compile_backend": "eager"}, "would compile all the same"),
        ({"torch_compile_backend": "eager", "torch_compile_mode": "max-autotune"}, "is for the backend 'inductor'"),
        ({"activation_checkpointing_kwargs": {"use_reentrnt": True}}, "did you mean 'use_reentrant'?"),
        ({"activation_checkpointing": True, "gradient_checkpointing": False}, "the older name"),
        ({"liger_kernel_config": {"rope": True}}, "without use_liger_kernel: true"),
        ({"debug": "underflow"}, "did you mean 'underflow_overflow'?"),
        ({"debug": "a b"}, "must be 'underflow_overflow' or 'tpu_metrics_debug', not 'a b'"),
        ({"debug": ["underflow_overflow"]}, "must be 'underflow_overflow' or 'tpu_metrics_debug', not a list"),
        ({"ddp_timeout": "1e13"}, "must be seconds"),
        ({"trackio_static_space_id": True}, "the name of a Space"),
    ],
)
def test_what_is_wrong_is_said(section: dict, said: str, tmp_path: Path) -> None:
    (line,) = is_refused(tmp_path, section)
    assert said in line


def test_no_tracker_is_none() -> None:
    assert check_training({"report_to": None}) == ({"report_to": "none"}, {})


def test_the_trackers_are_those_of_transformers() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert set(TRACKERS) == set(INTEGRATION_TO_CALLBACK)


def test_compile_backends_are_known_to_accelerate_and_to_torch() -> None:
    import torch._dynamo
    from accelerate.utils import DynamoBackend

    known = {backend.value.lower() for backend in DynamoBackend} - {"no"}
    assert set(COMPILE_BACKENDS) <= known
    in_torch = {name for name, packages in COMPILE_BACKENDS.items() if not packages}
    assert in_torch <= set(torch._dynamo.list_backends(None))
    for name in known - set(COMPILE_BACKENDS):  # what is left out is told as gone, never as a wrong word
        assert "is not in the torch" in check_training({"torch_compile_backend": name})[1]["torch_compile_backend"]
