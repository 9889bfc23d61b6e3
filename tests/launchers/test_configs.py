"""The accelerate configurations: accepted by accelerate, complete, and each really starts what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

LAUNCHERS = Path(__file__).resolve().parents[2] / "launchers"
CONFIGS = sorted(LAUNCHERS.glob("*.yaml"))
WITHOUT_GPU = ["cpu", "cpu_ddp", "cpu_zero1", "cpu_zero2", "cpu_zero3"]
WITH_GPU = ["one_gpu", "ddp", "zero1", "zero2", "zero3", "multi_node"]

# Prints what a launched process sees, after three optimizer steps of a tiny Llama.
PROGRAM = """
import json, os, sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
folder = sys.argv[1]
arguments = TrainingArguments(
    folder, use_cpu=True, max_steps=3, per_device_train_batch_size=8 // int(os.environ.get("WORLD_SIZE", 1)),
    gradient_accumulation_steps=2, logging_steps=1, save_strategy="no", disable_tqdm=True, max_grad_norm=0.5,
    bf16="bf16" in sys.argv, ddp_find_unused_parameters=False,
)
torch.manual_seed(0)
shape = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=16))
input_ids = torch.randint(0, 64, (48, 16), generator=torch.Generator().manual_seed(0))
trainer = Trainer(model, arguments, train_dataset=[{"input_ids": row, "labels": row} for row in input_ids])
trainer.train()
state, plugin = trainer.accelerator.state, trainer.accelerator.state.deepspeed_plugin
trainer.save_model()
if state.is_main_process:
    seen = dict(
        type=state.distributed_type.value, num_processes=state.num_processes, device=state.device.type,
        mixed_precision=state.mixed_precision,
        losses=[line["loss"] for line in trainer.state.log_history if "loss" in line],
    )
    if plugin:
        seen |= {key: plugin.deepspeed_config[key] for key in ("gradient_accumulation_steps", "gradient_clipping")}
        seen |= {"zero_stage": plugin.zero_stage}
    open(os.path.join(folder, "seen.json"), "w").write(json.dumps(seen))
os._exit(0)  # gloo's threads abort some exits of the interpreter (pytorch #179291)
"""


def test_there_is_one_for_every_way_to_launch():
    assert {path.stem for path in CONFIGS} == {*WITHOUT_GPU, *WITH_GPU}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_accepts_it_and_it_says_how_to_use_it(path):
    config = load_config_from_file(str(path))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert 16 <= len(lines) <= 26
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    assert f"accelerate launch --config_file launchers/{path.name}" in comment
    assert "-m lmeff.run RECIPE.yaml" in comment

    assert config.use_cpu == (path.stem in WITHOUT_GPU)
    assert config.mixed_precision == "no"
    # Everything that accelerate would otherwise guess, with a warning.
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"num_processes", "num_machines", "mixed_precision", "distributed_type", "machine_rank"} <= given.keys()


@pytest.mark.parametrize("name", [*WITHOUT_GPU, *WITH_GPU])
def test_it_means_what_its_name_says(name):
    config = load_config_from_file(str(LAUNCHERS / f"{name}.yaml"))
    stage = re.search(r"zero(\d)", name)
    if stage:
        assert config.distributed_type == DistributedType.DEEPSPEED
        assert config.deepspeed_config["zero_stage"] == int(stage[1])
        assert config.deepspeed_config["gradient_accumulation_steps"] == "auto"
        assert config.deepspeed_config["gradient_clipping"] == "auto"
        assert config.deepspeed_config["zero3_init_flag"] is False
        assert config.deepspeed_config.get("zero3_save_16bit_model", False) == (stage[1] == "3")
    elif name in ("cpu", "one_gpu"):
        assert (config.distributed_type, config.num_processes) == (DistributedType.NO, 1)
    else:
        # For a CPU too: MULTI_CPU without mpirun starts one process only.
        assert config.distributed_type == DistributedType.MULTI_GPU
        assert config.num_processes >= 2
    assert config.num_machines == (2 if name == "multi_node" else 1)
    # Two launches on one machine meet on a fixed port; several machines need one.
    assert config.main_process_port == (29500 if name == "multi_node" else 0)


def launch(folder: Path, name: str, *options: str) -> dict:
    """What the first process of a launch saw."""
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    environment |= {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    config = ["--config_file", str(LAUNCHERS / f"{name}.yaml")]
    command = [sys.executable, "-m", "accelerate.commands.launch", *config, "program.py", str(folder), *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "were not passed" not in done.stderr
    return json.loads((folder / "seen.json").read_text())


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched")
    return {name: launch(folder / name, name) | {"folder": folder / name} for name in WITHOUT_GPU}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_GPU)
def test_a_launch_without_a_gpu_is_what_the_name_says(launched, name):
    seen = launched[name]
    assert seen["device"] == "cpu"
    assert seen["num_processes"] == (1 if name == "cpu" else 2)
    assert seen["mixed_precision"] == "no"
    if "zero" in name:
        assert (seen["type"], seen["zero_stage"]) == ("DEEPSPEED", int(name[-1]))
        # Filled in by the Trainer, from its own arguments.
        assert (seen["gradient_accumulation_steps"], seen["gradient_clipping"]) == (2, 0.5)
    else:
        assert seen["type"] == {"cpu": "NO", "cpu_ddp": "MULTI_CPU"}[name]
    # ZeRO-3 writes the whole model only because its configuration asks for it.
    assert (seen["folder"] / "model.safetensors").stat().st_size == (
        (launched["cpu"]["folder"] / "model.safetensors").stat().st_size
    )


@pytest.mark.slow
def test_how_it_is_launched_does_not_change_the_losses(launched):
    for name in WITHOUT_GPU:
        assert launched[name]["losses"] == pytest.approx(launched["cpu"]["losses"], rel=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpu_ddp", "cpu_zero2"])
def test_the_configuration_does_not_override_bf16(tmp_path, name):
    assert launch(tmp_path / name, name, "bf16")["mixed_precision"] == "bf16"
