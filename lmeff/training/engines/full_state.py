"""Weights and optimizer state by the model's own parameter names, in float32, whichever engine divides them up.

One form for every engine and world size: what plain training, DDP and ZeRO 1 to 3 write, each of them reads. DeepSpeed's own
checkpoints are bound to their world size, and are pickles.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from lmeff.library_internals import link_optimizer_state

_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
_SEPARATOR = "|"
_STEP = "step"

Tensors = dict[str, torch.Tensor]


@dataclass
class FullState:
    weights: Tensors
    """Parameter name -> float32 on the CPU; the master weights where the model itself is in 16 bits."""
    optimizer: dict[str, Tensors] = field(default_factory=dict)
    """Parameter name -> the optimizer's tensors of the parameter's shape, such as `exp_avg`. Empty before the first update."""
    num_updates: dict[str, float] = field(default_factory=dict)
    """Parameter name -> updates made so far, where the optimizer counts them."""

    def save(self, folder: Path) -> None:
        """Writes both safetensors files."""
        save_file(self.weights, folder / _WEIGHTS)
        self.save_optimizer(folder)

    def save_optimizer(self, folder: Path) -> None:
        """Writes optimizer.safetensors: `PARAMETER|KEY` -> float32 tensor, and `PARAMETER|step`."""
        flat = {
            f"{name}{_SEPARATOR}{key}": tensor
            for name, state in self.optimizer.items()
            for key, tensor in state.items()
        }
        flat |= {f"{name}{_SEPARATOR}{_STEP}": torch.tensor(count) for name, count in self.num_updates.items()}
        save_file(flat, folder / _OPTIMIZER)

    @classmethod
    def load(cls, folder: Path) -> "FullState":
        """Reads what `save` wrote."""
        state = cls(load_file(folder / _WEIGHTS))
        for full_name, tensor in load_file(folder / _OPTIMIZER).items():
            name, _, key = full_name.rpartition(_SEPARATOR)
            if key == _STEP:
                state.num_updates[name] = tensor.item()
            else:
                state.optimizer.setdefault(name, {})[key] = tensor
        return state


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _scalars(state: Mapping[str, Any]) -> float | None:
    return float(state[_STEP]) if _STEP in state else None


class PlainEngine:
    """One process or DDP: every process has all of it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._parameters, self._optimizer = dict(model.named_parameters()), optimizer

    def gather(self, keep: bool) -> FullState:
        """Copies of weights and optimizer state, where `keep` says so; empty elsewhere. Not collective."""
        full = FullState({})
        for name, parameter in self._parameters.items() if keep else ():
            full.weights[name] = _kept(parameter)
            state = self._optimizer.state.get(parameter, {})
            full.optimizer[name] = {
                key: _kept(value)
                for key, value in state.items()
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape and key != _STEP
            }
            if (count := _scalars(state)) is not None:
                full.num_updates[name] = count
        return full

    def put_weights(self, weights: Tensors) -> None:
        for name, parameter in self._parameters.items():
            parameter.data.copy_(weights[name])

    def put_optimizer(self, full: FullState) -> None:
        fused = {
            parameter: bool(group.get("fused"))
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }
        for name, parameter in self._parameters.items():
            if not full.optimizer.get(name):
                continue
            state = self._optimizer.state[parameter]
            for key, value in full.optimizer[name].items():
                state[key] = value.to(parameter.device, parameter.dtype, copy=True)
            if name in full.num_updates:
                device = parameter.device if fused[parameter] else "cpu"
                state[_STEP] = torch.tensor(full.num_updates[name], dtype=torch.float32, device=device)


class ZeroEngine(ABC):
    """ZeRO: flat float32 partitions, one for each group of parameters, over all processes."""

    def __init__(self, model: nn.Module, zero: Any) -> None:
        self._parameters, self._zero, self._base = dict(model.named_parameters()), zero, zero.optimizer

    @abstractmethod
    def _partitions(self) -> list[torch.Tensor]: ...

    @abstractmethod
    def _groups(self) -> list[list[nn.Parameter]]:
        """The parameters of each partition."""

    @abstractmethod
    def _set(self, parameter: nn.Parameter, value: torch.Tensor, key: str | None) -> None:
        """Puts a whole weight, or with a `key` a whole tensor of its optimizer state, into the partitions."""

    @abstractmethod
    def _link(self) -> None:
        """Has every parameter know its pieces of the optimizer's state."""

    @abstractmethod
    def whole(self, partition: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]:
        """What all processes together have for each parameter of a partition, in its shape; `values` is this process's part.
        Collective; the result is on every process."""

    @abstractmethod
    def own_part(self, partition: torch.Tensor, whole: list[torch.Tensor]) -> torch.Tensor:
        """The other way: this process's part, flat."""

    def _group_of(self, partition: torch.Tensor) -> list[nn.Parameter]:
        return next(group for one, group in zip(self._partitions(), self._groups(), strict=True) if one is partition)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one that DeepSpeed has step every partition."""
        return self._base

    def gather(self, keep: bool) -> FullState:
        """Collective; the result is on the processes that `keep` it, and empty on the others."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        self._link()
        full, names = FullState({}), self._names()
        for partition, group in zip(self._partitions(), self._groups(), strict=True):
            state = self._base.state.get(partition, {})
            keys = sorted(key for key, value in state.items() if getattr(value, "shape", None) == partition.shape)
            for parameter in group:
                weight = safe_get_full_fp32_param(parameter)
                tensors = {key: safe_get_full_optimizer_state(parameter, key) for key in keys if key != _STEP}
                if keep:
                    name = names[id(parameter)]
                    full.weights[name] = _kept(weight)
                    full.optimizer[name] = {key: _kept(value) for key, value in tensors.items()}
                    if (count := _scalars(state)) is not None:
                        full.num_updates[name] = count
        return full

    def _names(self) -> dict[int, str]:
        return {id(parameter): name for name, parameter in self._parameters.items()}

    def put_weights(self, weights: Tensors) -> None:
        for name, parameter in self._parameters.items():
            self._set(parameter, weights[name].to(self._device), None)

    def put_optimizer(self, full: FullState) -> None:
        names = self._names()
        for partition, group in zip(self._partitions(), self._groups(), strict=True):
            # Another engine keeps nothing of a parameter that never had a gradient.
            own = [names[id(parameter)] for parameter in group]
            keys = {key: None for name in own for key in full.optimizer.get(name, {})}
            state = {key: torch.zeros_like(partition) for key in keys}
            if counts := [full.num_updates[name] for name in own if name in full.num_updates]:
                # Every partition needs a tensor of its own: the optimizer counts in place.
                state[_STEP] = torch.tensor(max(counts), dtype=torch.float32, device=self._step_device())
            if state:
                self._base.state[partition] = state
        self._link()
        for name, parameter in self._parameters.items():
            for key, value in full.optimizer.get(name, {}).items():
                self._set(parameter, value.to(self._device), key)

    @property
    def _device(self) -> torch.device:
        return self._partitions()[0].device

    def _step_device(self) -> torch.device | str:
        return self._device if any(group.get("fused") for group in self._base.param_groups) else "cpu"


def _gathered(values: torch.Tensor) -> torch.Tensor:
    """Every process's values, a row each. Collective; the result is on every process."""
    rows = values.new_empty(dist.get_world_size(), values.numel())
    dist.all_gather_into_tensor(rows.view(-1), values.contiguous())
    return rows


class Zero12Engine(ZeroEngine):
    """Parameters one after the other, cut into equal parts."""

    def _partitions(self) -> list[torch.Tensor]:
        return self._zero.single_partition_of_fp32_groups

    def _groups(self) -> list[list[nn.Parameter]]:
        return self._zero.round_robin_bit16_groups

    def whole(self, partition: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]:
        group = self._group_of(partition)
        pieces = _gathered(values).view(-1)[: sum(one.numel() for one in group)].split([one.numel() for one in group])
        return [piece.view(one.shape) for piece, one in zip(pieces, group, strict=True)]

    def own_part(self, partition: torch.Tensor, whole: list[torch.Tensor]) -> torch.Tensor:
        flat, size, rank = torch.cat([one.flatten() for one in whole]), partition.numel(), dist.get_rank()
        return nn.functional.pad(flat, (0, size * dist.get_world_size() - flat.numel()))[
            rank * size : (rank + 1) * size
        ]

    def _set(self, parameter: nn.Parameter, value: torch.Tensor, key: str | None) -> None:
        parameter.set_full_hp_param(value, key)

    def _link(self) -> None:
        # DeepSpeed does this once, after the first group's first step, when the other groups have no state yet.
        if all(self._base.state.get(partition) for partition in self._partitions()):
            link_optimizer_state(self._zero)


class Zero3Engine(ZeroEngine):
    """Every parameter cut into equal parts by itself."""

    def _partitions(self) -> list[torch.Tensor]:
        return self._zero.fp32_partitioned_groups_flat

    def _groups(self) -> list[list[nn.Parameter]]:
        return self._zero.fp16_groups

    def _link(self) -> None:
        """Nothing to do: stage 3 looks its pieces up each time."""

    def _set(self, parameter: nn.Parameter, value: torch.Tensor, key: str | None) -> None:
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        mine = self._piece(parameter, value)
        if key is None:
            safe_set_local_fp32_param(parameter, mine)
        else:
            safe_set_local_optimizer_state(parameter, mine, key)

    @staticmethod
    def _piece(parameter: nn.Parameter, value: torch.Tensor) -> torch.Tensor:
        size, rank = parameter.ds_tensor.numel(), dist.get_rank()
        padded = nn.functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
        return padded[rank * size : (rank + 1) * size]

    def whole(self, partition: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]:
        group = self._group_of(partition)
        columns = _gathered(values).split([one.ds_tensor.numel() for one in group], dim=1)
        return [
            column.reshape(-1)[: one.ds_numel].view(one.ds_shape) for column, one in zip(columns, group, strict=True)
        ]

    def own_part(self, partition: torch.Tensor, whole: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self._piece(*pair) for pair in zip(self._group_of(partition), whole, strict=True)])


def engine_state(model: nn.Module, wrapped: nn.Module, optimizer: Any) -> PlainEngine | Zero12Engine | Zero3Engine:
    """The reader and writer for the engine that `wrapped`, the prepared model, belongs to."""
    zero = getattr(wrapped, "optimizer", None)
    if zero is None or not hasattr(wrapped, "zero_optimization_stage"):
        return PlainEngine(model, getattr(optimizer, "optimizer", optimizer))
    return Zero3Engine(model, zero) if wrapped.zero_optimization_stage() == 3 else Zero12Engine(model, zero)


def weights_of(model: nn.Module) -> Tensors:
    """The weights as they stand: float32 copies on the CPU."""
    return {name: _kept(parameter) for name, parameter in model.named_parameters()}
