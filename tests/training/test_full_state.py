"""What one engine has kept of an optimizer's state, put into the parts of another."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lmeff.training.engines.full_state import PlainEngine, ZeroEngine


class FlatEngine(ZeroEngine):
    """One process with a flat partition for each group, as ZeRO has it, without DeepSpeed: what is put stays to be seen."""

    def __init__(self, model: nn.Module, groups: list[list[nn.Parameter]]) -> None:
        self.groups = groups
        self.flat = [nn.Parameter(torch.cat([one.detach().flatten() for one in group])) for group in groups]
        super().__init__(model, SimpleNamespace(optimizer=torch.optim.AdamW([{"params": [one]} for one in self.flat])))

    def _partitions(self) -> list[torch.Tensor]:
        return list(self.flat)

    def _groups(self) -> list[list[nn.Parameter]]:
        return self.groups

    def _link(self) -> None:
        pass

    def whole(self, partition: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]:
        group = self._group_of(partition)
        pieces = values.split([one.numel() for one in group])
        return [piece.view(one.shape) for piece, one in zip(pieces, group, strict=True)]

    def own_part(self, partition: torch.Tensor, whole: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([one.flatten() for one in whole])

    def _set(self, parameter: nn.Parameter, value: torch.Tensor, key: str | None) -> None:
        for partition, group in zip(self.flat, self.groups, strict=True):
            for one, piece in zip(group, self.whole(partition, self._values(partition, key)), strict=True):
                if one is parameter:
                    piece.copy_(value)

    def _values(self, partition: nn.Parameter, key: str | None) -> torch.Tensor:
        return partition.data if key is None else self.optimizer.state[partition][key]


@pytest.mark.parametrize("unused", ["first", "second", "third", "fourth"])
def test_a_parameter_without_a_gradient_takes_no_state_from_its_group(unused: str) -> None:
    """Plain training keeps nothing of it; where it is the first of its group, ZeRO knows from the others what there is."""
    torch.manual_seed(0)
    model = nn.ParameterDict({name: torch.randn(2, 3) for name in ("first", "second", "third", "fourth")})
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        sum(one.square().sum() for name, one in model.items() if name != unused).backward()
        optimizer.step()
    full = PlainEngine(model, optimizer).gather(keep=True)
    assert (full.optimizer[unused], unused in full.num_updates) == ({}, False)
    engine = FlatEngine(model, [[model["first"], model["second"]], [model["third"], model["fourth"]]])
    engine.put_optimizer(full)
    for partition, names in zip(engine.flat, (("first", "second"), ("third", "fourth")), strict=True):
        state = engine.optimizer.state[partition]
        assert (sorted(state), state["step"].item()) == (["exp_avg", "exp_avg_sq", "step"], 3)
        for key in ("exp_avg", "exp_avg_sq"):
            for name, found in zip(names, engine.whole(partition, state[key]), strict=True):
                assert torch.equal(found, full.optimizer[name].get(key, torch.zeros(2, 3)))
