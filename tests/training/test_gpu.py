"""Training on a GPU: the losses of a CPU, the same bits after a stop and a kill, one process of each engine, and too little
memory. Without a GPU there is nothing to be tried."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from launching import (
    ROOT,
    curve,
    ended,
    environment,
    finish,
    kill,
    read_lines,
    run_folder,
    start,
    state_of,
    wait_until_stopped,
    weights,
    write_recipe,
)
from models.tiny_families import DROPOUT, tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

KINDS = {family: [f"model.{field}=0.1" for field in fields] for family, fields in DROPOUT.items()}
"""What gives each of them dropout, where it can have any."""
KINDS["hybrid"] = KINDS["llama"]
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "DS_ACCELERATOR": "cpu"}
TEN_STEPS = ("anchors.tokens=[0,5k]", "evaluation.dev_tokens=1000")
FLOAT32 = "training.bf16=false"


def recipe_of(folder: Path, kind: str) -> Path:
    """Ten steps of a tiny model of that kind."""
    path = write_recipe(folder)
    lines = path.read_text().splitlines()
    model = tiny_model("llama" if kind == "hybrid" else kind)
    lines = [f"model: {{{model}}}" if one.startswith("model:") else one for one in lines]
    lines += ["objective: {name: hybrid}"] if kind == "hybrid" else []
    path.write_text("\n".join(lines))
    return path


def train_in_turn(
    name: str, recipe: Path, lines: Sequence[Sequence[str]], launcher: str | None = None, **variables: str
) -> None:
    """Runs of one recipe in one launch, by `in_turn.py`; the words of each, which may begin with `stop_at:N`."""
    launches = recipe.parent / f"{name}.json"
    full = [
        [words[0], str(recipe), *words[1:]] if words[0].startswith("stop_at") else [str(recipe), *words]
        for words in lines
    ]
    launches.write_text(json.dumps(full))
    command = [sys.executable]
    if launcher == "torchrun":
        command = ["torchrun", "--standalone", "--nproc_per_node", "1"]
    elif launcher:
        config = f"launchers/{launcher}.yaml"
        command = ["accelerate", "launch", "--quiet", "--config_file", config, "--num_processes", "1"]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "training" / "in_turn.py"), str(launches)],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    codes = launches.with_suffix(".codes")
    assert codes.exists(), done.stdout + done.stderr
    assert json.loads(codes.read_text()) == [0] * len(lines), done.stdout + done.stderr


def last_anchor(run: Path) -> dict:
    return json.loads((run / "revisions" / "seed-1" / "anchor.json").read_text())


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / "run.log.jsonl")]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_a_cpu_for_any_micro_batch(tmp_path: Path, kind: str) -> None:
    """In float32; without dropout, for which a GPU draws other numbers than a CPU, but the same for any micro-batch."""
    recipe = recipe_of(tmp_path, kind)
    words = (*TEN_STEPS, FLOAT32)
    names = {"gpu": (), "rows": ("batch.micro=16",)}
    names |= {f"dropped_{name}": (*more, *KINDS[kind]) for name, more in names.items()}
    train_in_turn("cpu", recipe, [("name=cpu", *words)], **WITHOUT_GPU)
    train_in_turn("gpu", recipe, [(f"name={name}", *words, *more) for name, more in names.items()])
    cpu, gpu, rows, dropped, dropped_rows = (run_folder(recipe, name) for name in ("cpu", *names))
    assert last_anchor(cpu)["device"] == "cpu"
    assert last_anchor(gpu)["device"] == torch.cuda.get_device_name()
    assert last_anchor(gpu)["precision"] == "float32"
    assert len(losses(gpu)) == 10
    assert losses(gpu) == pytest.approx(losses(cpu), abs=1e-4)
    assert losses(rows) == pytest.approx(losses(gpu), abs=1e-5)
    assert last_anchor(gpu)["dev_loss"] == pytest.approx(last_anchor(cpu)["dev_loss"], abs=1e-4)
    assert losses(dropped_rows) == pytest.approx(losses(dropped), abs=1e-5)
    assert (losses(dropped) != losses(gpu)) == bool(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_it_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(tmp_path, kind)
    words = ("deterministic=true", *TEN_STEPS, *KINDS[kind])
    train_in_turn("whole", recipe, [("name=whole", *words)])
    # The first processes try micro-batches, the last does not.
    stopped = ("name=stopped", "batch.micro=auto", *words)
    train_in_turn("auto", recipe, [("name=auto", "batch.micro=auto", *words), ("stop_at:6", *stopped)])
    train_in_turn("resumed", recipe, [stopped])
    whole, auto, stopped_run = (run_folder(recipe, name) for name in ("whole", "auto", "stopped"))
    assert last_anchor(whole)["precision"] == "bfloat16"
    assert losses(auto) == pytest.approx(losses(whole), abs=0.05)
    assert curve(stopped_run) == curve(auto)
    assert weights(stopped_run) == weights(auto)


def test_killed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = (str(recipe), "deterministic=true", "anchors.tokens=[0,5k,10k]")
    finish(start(None, *words, "name=whole", popen=subprocess.Popen))
    manifest = run_folder(recipe, "killed") / "checkpoints" / "step-7" / "manifest.json"
    process = start(None, *words, "name=killed", faults=[f"stop_once:{manifest}"], popen=subprocess.Popen)
    wait_until_stopped(process)
    kill(process)
    assert "going on from" in finish(start(None, *words, "name=killed", popen=subprocess.Popen))
    whole, killed = (run_folder(recipe, name) for name in ("whole", "killed"))
    assert curve(killed) == curve(whole)
    assert weights(killed) == weights(whole)


@pytest.mark.parametrize("engine", ["ddp", "zero1", "zero2", "zero3", "torchrun"])
def test_one_process_of_an_engine_trains_alike(tmp_path: Path, engine: str) -> None:
    """Over NCCL, as far as one GPU can have it: `torchrun` and DeepSpeed make a process group even of one process."""
    recipe = write_recipe(tmp_path)
    train_in_turn("plain", recipe, [("name=plain", *TEN_STEPS, FLOAT32)])
    train_in_turn(engine, recipe, [("name=same", *TEN_STEPS, FLOAT32)], engine)
    run, plain = run_folder(recipe, "same"), run_folder(recipe, "plain")
    assert losses(run) == pytest.approx(losses(plain), abs=1e-4)
    assert last_anchor(run)["device"] == torch.cuda.get_device_name()
    assert last_anchor(run)["engine"] == (engine if engine.startswith("zero") else "plain")
    words = ("deterministic=true", *TEN_STEPS)
    both = [("name=whole", *words), ("stop_at:6", "name=stopped", *words)]
    train_in_turn(f"{engine}-half", recipe, both, engine)
    train_in_turn(f"{engine}-resumed", recipe, [("name=stopped", *words)], engine)
    whole, stopped = run_folder(recipe, "whole"), run_folder(recipe, "stopped")
    assert last_anchor(whole)["precision"] == "bfloat16"
    assert curve(stopped) == curve(whole)
    assert weights(stopped) == weights(whole)


@pytest.mark.parametrize(
    ("words", "precision"),
    [((), "bfloat16"), ((FLOAT32,), "tf32"), ((FLOAT32, "training.tf32=false"), "float32")],
)
def test_a_compiled_model_is_told_what_its_products_are(tmp_path: Path, words: tuple[str, ...], precision: str) -> None:
    """transformers turns TF32 on for whoever compiles; a recipe that says no has its way."""
    recipe = write_recipe(tmp_path)
    train_in_turn("compiled", recipe, [("name=compiled", *TEN_STEPS, "training.torch_compile=true", *words)])
    train_in_turn("eager", recipe, [("name=eager", *TEN_STEPS, FLOAT32)])
    compiled, eager = run_folder(recipe, "compiled"), run_folder(recipe, "eager")
    assert last_anchor(compiled)["precision"] == precision
    assert last_anchor(compiled)["torch_compile"] == "inductor"
    closest = {"bfloat16": 0.05, "tf32": 0.01, "float32": 1e-4}[precision]
    assert losses(compiled) == pytest.approx(losses(eager), abs=closest)


LARGE_LOGITS = (
    "batch.sequence_length=128",
    "batch.tokens=65536",
    "anchors.tokens=[0,131072]",
    "schedule.warmup=1 steps",
    "corpus.epochs=40",
    "model.hidden_size=256",
    "model.intermediate_size=1024",
    FLOAT32,
)
"""Two steps of 512 sequences whose activations take some gigabytes."""
A_GIGABYTE = "little_memory:1000"


def test_a_micro_batch_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    words = (str(write_recipe(tmp_path)), *LARGE_LOGITS, "batch.micro=512")
    code, output = ended(start(None, *words, faults=[A_GIGABYTE], popen=subprocess.Popen))
    assert code == 1, output
    assert "Traceback" not in output
    assert "512 sequences at a time do not fit the GPU" in output
    assert "set batch.micro=256" in output
    assert "do not fit the GPU" in state_of(tmp_path / "outputs" / "job" / "seed-1")["error"]


def test_auto_takes_what_fits(tmp_path: Path) -> None:
    """Micro-batches are tried before training, and the run ends as one with all of the memory."""
    recipe = write_recipe(tmp_path)
    words = (str(recipe), *LARGE_LOGITS, "batch.micro=auto")
    finish(start(None, *words, "name=small", faults=[A_GIGABYTE], popen=subprocess.Popen))
    finish(start(None, *words, "name=large", popen=subprocess.Popen))
    small, large = (run_folder(recipe, name) for name in ("small", "large"))
    sizes = [json.loads((run / "plan.json").read_text())["micro_batch"] for run in (small, large)]
    assert sizes[0] < sizes[1]
    assert losses(small) == pytest.approx(losses(large), abs=1e-4)


def test_memory_that_is_too_small_after_all_halves_the_micro_batch(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = (str(recipe), *LARGE_LOGITS, "batch.micro=auto")
    faults = [A_GIGABYTE, "trial_is_wrong:512"]
    output = finish(start(None, *words, faults=faults, popen=subprocess.Popen))
    assert "512 sequences at a time do not fit the GPU; going on with 256" in output
    finish(start(None, *words, "name=small", "batch.micro=32", popen=subprocess.Popen))
    assert losses(run_folder(recipe)) == pytest.approx(losses(run_folder(recipe, "small")), abs=1e-4)
