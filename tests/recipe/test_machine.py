"""What a recipe asks for and a machine lacks, told with file and line, in every verb that would run it."""

from pathlib import Path

import pytest
from launching import write_recipe

from lmeff import run
from lmeff.cli import main
from lmeff.recipe import machine

WITHOUT_GPU = [
    ("fp16: true", "training.fp16: there is no GPU to train on here: float16"),
    ("tf32: true", "training.tf32: there is no GPU to train on here: TF32"),
    ("torch_compile_backend: cudagraphs", "training.torch_compile_backend: there is no GPU"),
]
WITHOUT_PACKAGE = [
    ("report_to: neptune", "training.report_to: 'neptune' needs a package that is not installed: pip install neptune"),
    (
        "report_to: [comet_ml]",
        "training.report_to: 'comet_ml' needs a package that is not installed: pip install comet-ml",
    ),
    (
        "use_liger_kernel: true",
        "training.use_liger_kernel: it needs a package that is not installed: pip install liger-kernel",
    ),
    (
        "torch_compile_backend: tensorrt",
        "training.torch_compile_backend: 'tensorrt' needs a package that is not installed",
    ),
    ("debug: tpu_metrics_debug", "training.debug: 'tpu_metrics_debug' needs a package that is not installed"),
]
VALUES = [
    ("report_to: tensorbord", "training.report_to: must be"),
    ("torch_compile_backend: foo", "training.torch_compile_backend: must be"),
]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


@pytest.mark.parametrize(("words", "said"), WITHOUT_GPU + WITHOUT_PACKAGE + VALUES)
def test_it_is_one_line_before_anything_is_prepared(no_gpu, recipe: Path, capsys, words: str, said: str) -> None:
    text = recipe.read_text().replace("training: {logging_steps: 1}", f"training:\n  logging_steps: 1\n  {words}")
    recipe.write_text(text)
    line = text.splitlines().index(f"  {words}") + 1
    for verb in (lambda words: main(["plan", *words]), lambda words: main(["probe", "lr", *words]), run.main):
        assert verb([str(recipe)]) == 2
        (error,) = capsys.readouterr().err.strip().splitlines()
        assert error.startswith(f"{recipe}:{line}: {said}")
    assert not (recipe.parent / "data").exists()
    assert not (recipe.parent / "outputs").exists()


def test_a_plan_for_another_machine_asks_that_machine(no_gpu, recipe: Path, capsys) -> None:
    words = ["plan", str(recipe), "training.tf32=true"]
    assert main([*words, "--gpu", "h100"]) == 0
    assert main(["plan", str(recipe), "training.fp16=true", "--gpu", "v100"]) == 0
    capsys.readouterr()
    for gpu in ("t4", "v100"):
        assert main(["plan", str(recipe), "training.bf16=true", "--gpu", gpu]) == 2
        error = capsys.readouterr().err
        assert "command line: training.bf16=true: the GPU is older than Ampere" in error
        assert main(["plan", str(recipe), "training.bf16=auto", "--gpu", gpu]) == 0
    assert main(["plan", str(recipe), "training.bf16=true", "--gpu", "a100"]) == 0
    capsys.readouterr()
    assert main([*words, "--gpu", "t4"]) == 2
    assert "command line: training.tf32=true: the GPU is older than Ampere" in capsys.readouterr().err


def test_what_is_not_run_here_is_not_judged(no_gpu, recipe: Path, capsys) -> None:
    """Text is prepared on another machine than the one that trains."""
    assert main(["prepare", str(recipe), "training.fp16=true", "training.report_to=neptune"]) == 0


def test_the_environment_that_turns_compiling_off(recipe: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    assert main(["plan", str(recipe), "training.torch_compile=true"]) == 2
    assert "unset TORCHDYNAMO_DISABLE" in capsys.readouterr().err
    monkeypatch.delenv("TORCHDYNAMO_DISABLE")
    monkeypatch.setenv("PATH", str(recipe.parent))
    monkeypatch.delenv("CXX", raising=False)  # which names a compiler wherever it is
    assert main(["plan", str(recipe), "training.torch_compile=true"]) == 2
    assert "needs a C++ compiler" in capsys.readouterr().err
    assert main(["plan", str(recipe), "training.torch_compile_backend=eager"]) == 0


@pytest.mark.parametrize("word", ["on", "Y", "t", "1", "True"])
@pytest.mark.parametrize("variable", ["ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE"])
def test_what_accelerate_takes_for_true_is_true_everywhere(
    recipe: Path, capsys, monkeypatch: pytest.MonkeyPatch, variable: str, word: str
) -> None:
    from accelerate.utils.environment import str_to_bool

    from lmeff.training.arguments import uses_cpu

    assert str_to_bool(word)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE", raising=False)
    monkeypatch.setattr(machine, "may_see_gpu", lambda: True)  # a machine with a GPU
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert machine.may_have_gpu()
    assert not uses_cpu()
    monkeypatch.setenv(variable, word if variable.endswith("USE_CPU") else "cpu")
    assert not machine.may_have_gpu()
    assert uses_cpu()
    assert main(["plan", str(recipe), "training.fp16=true"]) == 2
    assert "there is no GPU to train on here" in capsys.readouterr().err


def test_the_launcher_is_chosen_by_the_gpu_that_torch_would_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi shows a GPU that CUDA_VISIBLE_DEVICES hides."""
    from lmeff.cli.accelerate_launch import _configuration

    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(machine, "_DEVICES", {kind: (str(tool),) for kind in ("cuda", "hip", "xpu")})
    monkeypatch.setattr(machine, "_torch_kinds", lambda: ("cuda",))
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _configuration(None).stem == "one_gpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert _configuration(None).stem == "cpu"


def test_a_tensorboard_folder_with_a_variable_that_is_not_set(no_gpu, recipe: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "$NOWHERE/logs")
    assert main(["plan", str(recipe), "training.report_to=tensorboard"]) == 2
    assert "TENSORBOARD_LOGGING_DIR: $NOWHERE/logs: the variable NOWHERE is not set" in capsys.readouterr().err


def test_a_gpu_is_looked_for_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    if torch.cuda.is_available():
        assert machine.may_have_gpu()
        capability = machine._capability_here()
        assert capability is None or capability <= float("{}.{}".format(*torch.cuda.get_device_capability()))
    assert bool(machine._torch_kinds()) == any(
        (torch.version.cuda, torch.version.hip, getattr(torch.version, "xpu", None))
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not machine.may_have_gpu()
