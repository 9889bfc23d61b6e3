"""Whatever an accelerate configuration or the environment says, the recipe's value holds, or one line says why it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from launching import ROOT, curve, environment, finish, read_lines, run_folder, start, weights, write_recipe

from lmeff import run
from lmeff.runs.launch import override_environment

HOSTILE = {
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_DYNAMO_MODE": "max-autotune",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "true",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "true",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_FP8_BACKEND": "MSAMP",
    "NVIDIA_TF32_OVERRIDE": "1",
}
DEEPSPEED = {
    "zero_optimization": {"stage": 1, "offload_optimizer": {"device": "none"}, "overlap_comm": False},
    "gradient_clipping": 0.001,
    "gradient_accumulation_steps": 7,
    "train_batch_size": 21,
    "train_micro_batch_size_per_gpu": 3,
    "bf16": {"enabled": True},
    "optimizer": {"type": "SGD", "params": {"lr": 1}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1}},
    "steps_per_print": 10,
}


def config(**fields: object) -> str:
    """An accelerate configuration for one process on a CPU."""
    usual = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": "NO",
        "machine_rank": 0,
        "main_process_port": 0,
        "mixed_precision": "no",
        "num_machines": 1,
        "num_processes": 1,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": True,
    }
    return yaml.safe_dump(usual | fields)


def anchor(folder: Path) -> dict:
    return json.loads((folder / "revisions" / "seed-1" / "anchor.json").read_text())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_recipe(tmp_path_factory.mktemp("launcher"))
    path.write_text(path.read_text().replace("20k", "6k"))
    return path


@pytest.fixture(scope="module")
def plain(recipe: Path) -> Path:
    finish(start(None, str(recipe)))
    return run_folder(recipe)


@pytest.mark.medium
def test_what_is_used_is_recorded(recipe: Path, plain: Path) -> None:
    found = {key: anchor(plain)[key] for key in ("engine", "precision", "torch_compile", "attention")}
    usual = {"engine": "plain", "precision": "float32", "torch_compile": None}
    assert found == usual | {"attention": "lmeff_stateless_dropout"}
    words = ["name=other", "training.bf16=true", "training.torch_compile_backend=eager", "model.attention_dropout=0"]
    finish(start(None, str(recipe), *words))
    found = {key: anchor(run_folder(recipe, "other"))[key] for key in ("precision", "torch_compile", "attention")}
    assert found == {"precision": "bfloat16", "torch_compile": "eager", "attention": "sdpa"}


@pytest.mark.medium
def test_the_environment_does_not_change_the_run(recipe: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    output = finish(start(None, str(recipe), "name=hostile", popen=subprocess.Popen))
    hostile = run_folder(recipe, "hostile")
    assert curve(hostile) == curve(plain)
    assert weights(hostile) == weights(plain)
    assert (anchor(hostile)["precision"], anchor(hostile)["torch_compile"]) == ("float32", None)
    for said in (
        "accelerate launch: mixed_precision bf16 is not used: training.bf16 and training.fp16 of the recipe decide",
        "accelerate launch: dynamo_backend eager is not used: training.torch_compile of the recipe decides",
        "accelerate launch: gradient_accumulation_steps 4 is not used: batch.micro of the recipe decides",
        "the environment: NVIDIA_TF32_OVERRIDE=1 is not used: training.tf32 of the recipe decides",
    ):
        assert output.count(said) == 1, output


@pytest.mark.slow
def test_the_default_configuration_of_accelerate_does_not_change_the_run(
    recipe: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever once answered `accelerate config` has one, and may have forgotten it."""
    (tmp_path / "accelerate").mkdir()
    dynamo = {"dynamo_backend": "EAGER", "dynamo_mode": "default", "dynamo_use_dynamic": True}
    text = config(mixed_precision="bf16", dynamo_config=dynamo)
    (tmp_path / "accelerate" / "default_config.yaml").write_text(text)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    command = ["accelerate", "launch", "-m", "lmeff.run", str(recipe), "name=default"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert weights(run_folder(recipe, "default")) == weights(plain)
    assert "mixed_precision bf16 is not used" in done.stderr
    assert "dynamo_backend eager is not used" in done.stderr


@pytest.mark.slow
def test_a_deepspeed_file_does_not_change_the_run(recipe: Path, plain: Path, tmp_path: Path) -> None:
    file, launcher = tmp_path / "zero.json", tmp_path / "zero.yaml"
    file.write_text(json.dumps(DEEPSPEED))
    launcher.write_text(
        config(
            distributed_type="DEEPSPEED",
            deepspeed_config={"deepspeed_config_file": str(file), "zero3_init_flag": False},
        )
    )
    output = finish(start(str(launcher), str(recipe), "name=zero", popen=subprocess.Popen))
    zero = run_folder(recipe, "zero")
    ours, theirs = ([line["loss"] for line in read_lines(one / "run.log.jsonl")] for one in (plain, zero))
    assert theirs == pytest.approx(ours, rel=1e-4)
    norms, others = ([line["grad_norm"] for line in read_lines(one / "run.log.jsonl")] for one in (plain, zero))
    assert others == pytest.approx(norms, rel=1e-3)
    assert anchor(zero)["precision"] == "float32"
    for said in (
        "gradient_clipping 0.001 is not used: training.max_grad_norm of the recipe decides",
        "gradient_accumulation_steps 7 is not used: batch.micro of the recipe decides",
        "the section 'optimizer' is not used: 'optimizer:' of the recipe decides",
        "the section 'scheduler' is not used: 'schedule:' of the recipe decides",
        "bf16.enabled true is not used",
    ):
        assert f"{file}: {said}" in output, output


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What a test changes of the environment is forgotten after it."""
    for name in [*HOSTILE, *(name for name in os.environ if name.startswith("ACCELERATE_"))]:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL", "ACCELERATE_DEEPSPEED_CONFIG_FILE"):
        monkeypatch.setenv(name, "none")
    return monkeypatch


ZERO = {"ACCELERATE_USE_DEEPSPEED": "true"}
REFUSED = [
    (
        {"ACCELERATE_USE_FSDP": "true"},
        None,
        "FSDP (fsdp_config, use_fsdp) is asked for, and lmeff does not train with it",
    ),
    ({"ACCELERATE_USE_MEGATRON_LM": "true"}, None, "Megatron-LM"),
    (
        {"ACCELERATE_USE_PARALLELISM_CONFIG": "true", "PARALLELISM_CONFIG_TP_SIZE": "2"},
        None,
        "tensor, context or sequence",
    ),
    (ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "0"}, None, "ZeRO stage 0 is none of 1, 2 and 3"),
    (ZERO | {"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu"}, None, "offload_optimizer_device is cpu"),
    (ZERO | {"ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "nvme"}, None, "offload_param_device is nvme"),
    (
        ZERO | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "gone.json"},
        None,
        "gone.json: cannot be read (No such file or directory)",
    ),
    (ZERO | {"ACCELERATE_USE_CPU": "true"}, None, "ACCELERATE_USE_CPU turns it off"),
    (ZERO, "{", "not JSON"),
    (
        ZERO,
        {"zero_optimization": {"stage": 1, "offload_param": 7}, "fp16": True, "train_batch_size": [8], "x": 1},
        "x: it",
    ),
    (ZERO, "[]", "needs 'zero_optimization'"),
    (ZERO, {"zero_optimization": {"stage": 0}}, "ZeRO stage 0"),
    (
        ZERO,
        {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}},
        "zero_optimization.offload_param is cpu",
    ),
    (
        ZERO,
        {"zero_optimization": {"stage": 3, "zero_quantized_weights": True}},
        "zero_quantized_weights: it would change",
    ),
    (
        ZERO,
        {"zero_optimization": {"stage": 1}, "progressive_layer_drop": {"enabled": True}},
        "progressive_layer_drop: it",
    ),
]


@pytest.mark.medium
@pytest.mark.parametrize(("variables", "file", "said"), REFUSED)
def test_what_cannot_hold_is_refused_in_one_line(
    recipe: Path, tmp_path: Path, clean_environment, capsys, variables: dict, file: object, said: str
) -> None:
    if file is not None:
        (tmp_path / "zero.json").write_text(file if isinstance(file, str) else json.dumps(file))
        variables = variables | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "zero.json")}
    for name, value in variables.items():
        clean_environment.setenv(name, value)
    assert run.main([str(recipe), "name=refused"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not run_folder(recipe, "refused").exists()


@pytest.mark.medium
def test_an_optimizer_that_does_not_run_under_zero(recipe: Path, clean_environment, capsys) -> None:
    clean_environment.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert run.main([str(recipe), "name=refused", "optimizer.name=schedule_free_adamw"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(
        "command line: optimizer.name=schedule_free_adamw: optimizer.name: 'schedule_free_adamw' does not run under DeepSpeed"
    )
    assert not run_folder(recipe, "refused").exists()


def test_what_says_nothing_of_training_is_left_alone(clean_environment, tmp_path: Path) -> None:
    """Nothing in the configurations that come with lmeff contradicts a recipe."""
    file = tmp_path / "zero.json"
    auto = {
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "bf16": {"enabled": "auto"},
        "amp": {"enabled": False},
    }
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}, "curriculum_learning": {"enabled": False}} | auto))
    for name, value in (
        ZERO
        | {
            "ACCELERATE_MIXED_PRECISION": "no",
            "ACCELERATE_DYNAMO_BACKEND": "NO",
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto",
            "ACCELERATE_GRADIENT_CLIPPING": "auto",
            "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
            "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(file),
        }
    ).items():
        clean_environment.setenv(name, value)
    assert override_environment() == []
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "no"


@pytest.mark.medium
@pytest.mark.parametrize("given", ["1", None])
def test_a_variable_that_the_user_set_is_told_from_one_of_the_launcher(given: str | None) -> None:
    asks = (
        "from lmeff.runs.process import launcher_was_told as told; print(told('OMP_NUM_THREADS'), told('NUM_THREADS'))"
    )
    launcher = f"""
import os, subprocess, sys
os.environ["OMP_NUM_THREADS"] = "1"
subprocess.run([sys.executable, "-c", {asks!r}], check=True)
"""
    variables = {name: value for name, value in environment().items() if name != "OMP_NUM_THREADS"}
    variables |= {"OMP_NUM_THREADS": given} if given else {}
    answer = subprocess.run([sys.executable, "-c", launcher], env=variables, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [str(given is not None), "False"]


@pytest.mark.slow
@pytest.mark.parametrize("given", ["1", None])
def test_a_process_alone_takes_all_cores_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """In a configuration without `use_cpu`, for which accelerate itself sets one thread."""
    recipe = write_recipe(tmp_path)
    (tmp_path / "one.yaml").write_text(config(use_cpu=False))
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    else:
        monkeypatch.delenv("OMP_NUM_THREADS")
    said = finish(start(str(tmp_path / "one.yaml"), str(recipe), "anchors.tokens=[512]", "schedule.warmup=0 steps"))
    num_threads = 1 if given else len(os.sched_getaffinity(0))
    assert f"training on the CPU with {num_threads} thread" in said
