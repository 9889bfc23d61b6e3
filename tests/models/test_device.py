"""On which device to compute, decided in one place, and what says that its memory ran out."""

import os
from pathlib import Path

import pytest
import torch
from house import MODULES

from lmeff.cli import accelerate_launch
from lmeff.environment import DEVICE_VARIABLES
from lmeff.errors import InputError
from lmeff.evaluation.process_state import isolate_scoring
from lmeff.evaluation.scorer.load import load_model
from lmeff.measures.finetuning.trial import device_precision
from lmeff.models.device import choose_device, is_out_of_memory
from lmeff.recipe.machine import may_see_gpu
from lmeff.recipe.sections.finetune import FinetuneSettings
from lmeff.training.arguments import uses_cpu
from lmeff.training.data.loader import train_loader

MAY_ASK = {
    "lmeff.models.device",
    "lmeff.training.engines.engine",  # to settle what must be before its first use, and to free its memory
}
"""Who may ask torch whether there is a GPU."""
LAUNCHERS = Path(accelerate_launch.__file__).parents[1] / "shipped" / "launchers"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, and an environment that says nothing of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    for name in DEVICE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[("ACCELERATE_USE_CPU", "True"), ("ACCELERATE_TORCH_DEVICE", "cpu")], ids=lambda one: one[0])
def cpu_is_asked_for(gpu: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `accelerate launch` says it in a process of launchers/cpu.yaml, and as a user does."""
    monkeypatch.setenv(*request.param)


def test_it_is_the_gpu_where_there_is_one(gpu: None) -> None:
    assert choose_device() == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")
    assert not uses_cpu()
    assert train_loader([], []).pin_memory


def test_who_asks_for_the_cpu_gets_it_everywhere(cpu_is_asked_for: None, model_folder: Path) -> None:
    assert choose_device() == torch.device("cpu")
    assert choose_device("cuda") == torch.device("cuda")  # --device says more than the environment
    assert uses_cpu()
    assert not train_loader([], []).pin_memory
    assert device_precision(FinetuneSettings()) == "float32"
    with isolate_scoring():  # which would ask CUDA for its random state
        assert load_model(model_folder, None, progress=False).device == torch.device("cpu")


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(InputError, match="torch sees no GPU here"):
        choose_device("cuda")


def test_nobody_else_asks_whether_there_is_a_gpu() -> None:
    asking = {name for name, path in MODULES.items() if "cuda.is_available" in path.read_text(encoding="utf-8")}
    assert asking <= MAY_ASK


@pytest.mark.parametrize("launcher", sorted(LAUNCHERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_launcher_for_the_cpu_hides_gpus_from_its_processes(launcher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where accelerate starts several, it says nothing of `use_cpu` to them: they take the GPUs that they see."""
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": "0"})
    accelerate_launch._settle_environment(launcher, None)
    is_for_cpu = launcher.stem.startswith("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("" if is_for_cpu else "0")
    assert not (is_for_cpu and may_see_gpu())


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
    ],
)
def test_memory_that_ran_out_is_known_by_its_words(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))


@pytest.mark.parametrize(
    "said", ["CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", "CUDA error: device-side assert"]
)
def test_other_faults_of_a_gpu_are_none_of_memory(said: str) -> None:
    assert not is_out_of_memory(RuntimeError(said))
