"""What float32 products are computed in, told and held; the sums and the work space of deterministic algorithms."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lmeff import library_internals
from lmeff.library_internals import running_sum
from lmeff.training.engines import engine


@pytest.fixture
def settings() -> Iterator[None]:
    """TF32 as it was."""
    before = torch.backends.fp32_precision
    yield
    torch.backends.fp32_precision = before
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = True


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
    """What transformers and accelerate have done by then: the one as it is told, the other what it does to compiled models."""
    torch.backends.fp32_precision = "ieee" if said is False else "tf32"
    torch.backends.cuda.matmul.allow_tf32 = True
    engine.keep_float32_whole(SimpleNamespace(tf32=said, device=torch.device("cuda")))
    assert engine._precision(on_a_gpu()) == found
    assert torch.backends.cuda.matmul.allow_tf32 == (found == "tf32"), "told by the older interface, too"
    assert torch.backends.cudnn.allow_tf32 == (found == "tf32")
    assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == (found == "tf32")


@pytest.mark.usefixtures("settings")
def test_float32_is_whole_in_convolutions_too() -> None:
    """Which torch computes in TF32 unless told otherwise."""
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    engine.keep_float32_whole(SimpleNamespace(tf32=None, device=torch.device("cuda")))
    assert engine._precision(on_a_gpu()) == "float32"
    assert torch.backends.cudnn.conv.fp32_precision != "tf32"


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


@pytest.fixture
def everything_by_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all tensors were on a GPU that is to be deterministic."""
    monkeypatch.setattr(torch, "cumsum", torch.cumsum)
    monkeypatch.setattr(library_internals, "sums_by_table", lambda numbers, dtype: numbers.is_floating_point())
    library_internals.use_running_sums_of_fixed_order()


@pytest.mark.usefixtures("everything_by_table")
def test_running_sums_take_the_place_of_torchs_own() -> None:
    replaced, numbers = torch.cumsum, torch.randn(5, 300).bfloat16()
    library_internals.use_running_sums_of_fixed_order()
    assert torch.cumsum is replaced, "replaced once"
    assert torch.cumsum(numbers, 1).dtype == torch.bfloat16
    whole = numbers.double().cumsum(1).float()
    assert torch.allclose(torch.cumsum(numbers, 1, dtype=torch.float32), whole, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(torch.cumsum(numbers, dim=1), whole, atol=1e-4), "autocast sums in float32"
    assert torch.cumsum(torch.tensor(2.0), 0) == 2
    assert torch.cumsum(torch.arange(4), 0).tolist() == [0, 1, 3, 6]
