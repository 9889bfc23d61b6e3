"""What float32 products are computed in, told and held; the sums and the work space of deterministic algorithms."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lmeff.library_internals import running_sum
from lmeff.training.engines import engine


@pytest.fixture
def settings() -> Iterator[None]:
    """TF32 as it was."""
    before = torch.backends.fp32_precision
    yield
    torch.backends.fp32_precision = before
    torch.backends.cuda.matmul.fp32_precision = "none"


def on_a_gpu(mixed_precision: str = "no") -> Any:
    return SimpleNamespace(device=torch.device("cuda"), mixed_precision=mixed_precision)


@pytest.mark.usefixtures("settings")
def test_tf32_is_told_whoever_turned_it_on() -> None:
    """transformers does by the newer interface, after which torch refuses to be asked by the older one."""
    assert engine._precision(on_a_gpu()) == "float32"
    torch.backends.fp32_precision = "tf32"
    with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
        assert torch.backends.cuda.matmul.allow_tf32
    assert engine._precision(on_a_gpu()) == "tf32"
    assert engine._precision(on_a_gpu("bf16")) == "bfloat16"
    torch.backends.cuda.matmul.allow_tf32 = True  # as accelerate does for a model that is compiled
    assert engine._precision(on_a_gpu()) == "tf32"


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("said", "found"), [(False, "float32"), (None, "tf32"), (True, "tf32")])
def test_a_recipe_that_says_no_to_tf32_has_its_way(said: bool | None, found: str) -> None:
    torch.backends.fp32_precision = "tf32"
    torch.backends.cuda.matmul.allow_tf32 = True
    engine.keep_float32_whole(SimpleNamespace(tf32=said))
    assert engine._precision(on_a_gpu()) == found


def test_making_a_trainer_leaves_the_work_space_of_cublas_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.delenv("CUDA_LAUNCH_BLOCKING", raising=False)
    with engine.cublas_as_prepared():
        os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":16:8", "CUDA_LAUNCH_BLOCKING": "1"}
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "CUDA_LAUNCH_BLOCKING" not in os.environ


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100])
@pytest.mark.parametrize("dim", [0, 1, -1, -2])
def test_running_sums_are_those_of_a_loop(size: int, dim: int) -> None:
    numbers = torch.randn(3, size, size, dtype=torch.double, requires_grad=True)
    wanted, so_far = torch.empty_like(numbers), 0.0
    for place in range(numbers.shape[dim]):
        so_far = so_far + numbers.select(dim, place)
        wanted.select(dim, place).copy_(so_far)
    found = running_sum(numbers, dim)
    assert torch.allclose(found, wanted, atol=1e-12)
    weights = torch.randn_like(numbers)
    for sums in (found, wanted):
        numbers.grad = None
        (sums * weights).sum().backward(retain_graph=True)
        # Each number is in the sums from its own place on.
        assert torch.allclose(numbers.grad, weights.flip(dim).cumsum(dim).flip(dim), atol=1e-12)
