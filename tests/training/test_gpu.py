"""Training on a GPU: the losses of a CPU, the same bits after a restart, one process of each engine, and memory that does not
suffice. Without a GPU there is nothing to be tried."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from launching import (
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
KINDS["hybrid"] = ["objective.name=hybrid", *KINDS["llama"]]
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "DS_ACCELERATOR": "cpu"}
TEN_STEPS = ("anchors.tokens=[0,5k]", "evaluation.dev_tokens=1000")


def recipe_of(folder: Path, kind: str) -> Path:
    """A tiny model of that kind, with dropout where it has any."""
    folder.mkdir(exist_ok=True)
    path = write_recipe(folder)
    lines = path.read_text().splitlines()
    model = tiny_model("llama" if kind == "hybrid" else kind)
    path.write_text("\n".join(f"model: {{{model}}}" if one.startswith("model:") else one for one in lines))
    return path


def train(*words: str, launcher: str | None = None, **options) -> str:
    return finish(start(launcher, *words, popen=subprocess.Popen, **options))


def last_anchor(run: Path) -> dict:
    return json.loads((run / "revisions" / "seed-1" / "anchor.json").read_text())


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / "run.log.jsonl")]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_a_cpu_for_any_micro_batch(tmp_path: Path, kind: str) -> None:
    """In float32 and without dropout, for which a GPU draws other numbers."""
    recipe = recipe_of(tmp_path, kind)
    words = (str(recipe), *TEN_STEPS, "training.bf16=false", *(["objective.name=hybrid"] if kind == "hybrid" else []))
    train(*words, "name=cpu", variables=WITHOUT_GPU)
    train(*words, "name=gpu")
    train(*words, "name=rows", "batch.micro=16")
    cpu, gpu, rows = (run_folder(recipe, name) for name in ("cpu", "gpu", "rows"))
    assert last_anchor(cpu)["device"] == "cpu"
    assert last_anchor(gpu)["device"] == torch.cuda.get_device_name()
    assert last_anchor(gpu)["precision"] == "float32"
    assert len(losses(gpu)) == 10
    assert losses(gpu) == pytest.approx(losses(cpu), abs=1e-4)
    assert losses(rows) == pytest.approx(losses(gpu), abs=1e-5)
    assert last_anchor(gpu)["dev_loss"] == pytest.approx(last_anchor(cpu)["dev_loss"], abs=1e-4)


@pytest.mark.parametrize("kind", [kind for kind, dropout in KINDS.items() if dropout])
def test_dropout_is_the_same_for_any_micro_batch(tmp_path: Path, kind: str) -> None:
    """What is dropped depends on seed, step, place and row alone; a GPU draws other numbers than a CPU."""
    recipe = recipe_of(tmp_path, kind)
    words = (str(recipe), *TEN_STEPS, "training.bf16=false", *KINDS[kind])
    train(*words, "name=four")
    train(*words, "name=sixteen", "batch.micro=16")
    four, sixteen = (losses(run_folder(recipe, name)) for name in ("four", "sixteen"))
    assert sixteen == pytest.approx(four, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_it_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(tmp_path, kind)
    words = (str(recipe), "deterministic=true", "anchors.tokens=[0,5k,10k]", *KINDS[kind])
    train(*words, "name=whole")
    manifest = run_folder(recipe, "killed") / "checkpoints" / "step-7" / "manifest.json"
    process = start(None, *words, "name=killed", faults=[f"stop_once:{manifest}"], popen=subprocess.Popen)
    wait_until_stopped(process)
    kill(process)
    assert "going on from" in train(*words, "name=killed")
    whole, killed = (run_folder(recipe, name) for name in ("whole", "killed"))
    assert last_anchor(whole)["precision"] == "bfloat16"
    assert curve(killed) == curve(whole)
    assert weights(killed) == weights(whole)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a run of one process in float32."""
    recipe = write_recipe(tmp_path_factory.mktemp("engines"))
    train(str(recipe), *TEN_STEPS, "training.bf16=false", "name=plain")
    return recipe


@pytest.mark.parametrize("engine", ["ddp", "zero1", "zero2", "zero3"])
def test_one_process_of_an_engine_trains_alike(plain: Path, engine: str) -> None:
    """Over NCCL, as far as one GPU can have it."""
    words = (str(plain), *TEN_STEPS, "training.bf16=false", f"name={engine}")
    train(*words, launcher=engine, options=["--num_processes", "1"])
    run = run_folder(plain, engine)
    assert losses(run) == pytest.approx(losses(run_folder(plain, "plain")), abs=1e-4)
    assert last_anchor(run)["device"] == torch.cuda.get_device_name()
    if engine != "ddp":
        assert last_anchor(run)["engine"] == engine


@pytest.mark.parametrize("engine", ["zero1", "zero2", "zero3"])
def test_engines_in_bfloat16_go_on_from_a_kill(plain: Path, engine: str) -> None:
    options = ["--num_processes", "1"]
    words = (str(plain), "anchors.tokens=[0,5k,10k]", "deterministic=true")
    train(*words, f"name={engine}_whole", launcher=engine, options=options)
    run = run_folder(plain, f"{engine}_killed")
    faults = [f"stop_once:{run / 'checkpoints' / 'step-7' / 'manifest.json'}"]
    process = start(engine, *words, f"name={run.parent.name}", options=options, faults=faults)
    wait_until_stopped(process)
    kill(process)
    assert "going on from" in train(*words, f"name={run.parent.name}", launcher=engine, options=options)
    whole = run_folder(plain, f"{engine}_whole")
    assert last_anchor(whole)["precision"] == "bfloat16"
    assert curve(run) == curve(whole)
    assert weights(run) == weights(whole)


def test_torch_distributed_over_nccl(plain: Path) -> None:
    """`torchrun` makes a process group even of one process."""
    words = (str(plain), *TEN_STEPS, "training.bf16=false", "name=torchrun")
    command = ["torchrun", "--standalone", "--nproc_per_node", "1", "-m", "lmeff.run", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = run_folder(plain, "torchrun")
    assert losses(run) == pytest.approx(losses(run_folder(plain, "plain")), abs=1e-5)


LARGE_LOGITS = (
    "batch.sequence_length=128",
    "batch.tokens=65536",
    "anchors.tokens=[0,131072]",
    "schedule.warmup=1 steps",
    "corpus.epochs=40",
    "model.hidden_size=256",
    "model.intermediate_size=1024",
    "training.bf16=false",
)
"""Two steps of 512 sequences whose activations take some gigabytes."""


def test_a_compiled_model_is_told_what_its_products_are(tmp_path: Path) -> None:
    """transformers turns TF32 on for whoever compiles; a recipe that says no has its way."""
    recipe = write_recipe(tmp_path)
    words = (str(recipe), *TEN_STEPS, "training.torch_compile=true")
    train(*words, "name=half")
    train(*words, "name=single", "training.bf16=false")
    train(*words, "name=whole", "training.bf16=false", "training.tf32=false")
    train(str(recipe), *TEN_STEPS, "name=eager", "training.bf16=false")
    half, single, whole, eager = (run_folder(recipe, name) for name in ("half", "single", "whole", "eager"))
    assert [last_anchor(run)["precision"] for run in (half, single, whole)] == ["bfloat16", "tf32", "float32"]
    assert last_anchor(whole)["torch_compile"] == "inductor"
    assert losses(whole) == pytest.approx(losses(eager), abs=1e-4)


def test_a_micro_batch_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    words = (str(write_recipe(tmp_path)), *LARGE_LOGITS, "batch.micro=512")
    code, output = ended(start(None, *words, faults=["little_memory:1000"], popen=subprocess.Popen))
    assert code == 1, output
    assert "Traceback" not in output
    assert "512 sequences at a time do not fit the GPU" in output
    assert "set batch.micro=256" in output
    run = tmp_path / "outputs" / "job" / "seed-1"
    assert "do not fit the GPU" in state_of(run)["error"]


def test_auto_takes_what_fits(tmp_path: Path) -> None:
    """The micro-batch is tried before training, and the run ends as one with all of the memory."""
    recipe = write_recipe(tmp_path)
    words = (str(recipe), *LARGE_LOGITS, "batch.micro=auto")
    train(*words, "name=small", faults=["little_memory:1000"])
    train(*words, "name=large")
    small, large = (run_folder(recipe, name) for name in ("small", "large"))
    sizes = [json.loads((run / "plan.json").read_text())["micro_batch"] for run in (small, large)]
    assert sizes[0] < sizes[1]
    assert losses(small) == pytest.approx(losses(large), abs=1e-4)


def test_memory_that_shrinks_after_the_trial_halves_the_micro_batch(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = (str(recipe), *LARGE_LOGITS, "batch.micro=auto", "name=shrinks")
    output = train(*words, faults=["little_memory:1000", "trial_is_wrong:512"])
    assert "512 sequences at a time do not fit the GPU; going on with 256" in output
    assert len(losses(run_folder(recipe, "shrinks"))) == 2
