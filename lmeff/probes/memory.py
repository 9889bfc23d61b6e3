"""The largest micro-batch that the device takes, tried for real."""

from dataclasses import dataclass

import torch

from lmeff.methods import check_methods, method_costs, tried_methods
from lmeff.models.device import choose_device, main_memory_bytes
from lmeff.plan import make_plan
from lmeff.plan.batch import micro_batches
from lmeff.plan.memory import USABLE_MEMORY
from lmeff.recipe.schema import Recipe
from lmeff.training.engines.micro import fitting_sizes


@dataclass(frozen=True)
class Memory:
    device: str
    total_bytes: int
    """What the device has."""
    peak_bytes: dict[int, int | None]
    """Peak by micro-batch, ascending; None for the first that does not fit."""
    micro_batch: int | None
    """The largest that fits; None when none does."""


def probe_memory(recipe: Recipe, world_size: int = 1) -> Memory:
    """Forward, backward and optimizer state at every micro-batch that divides a process's share, until one does not fit.

    Without a GPU nothing is tried: the estimate of the plan stands beside the machine's memory. Raises InputError for what a
    learning method needs and is not there.
    """
    check_methods(recipe)
    sizes, device = micro_batches(recipe, world_size), choose_device()
    if device.type == "cpu":
        total = main_memory_bytes()
        costs = method_costs(recipe)
        plans = {size: make_plan(recipe, world_size=world_size, micro_batch=size, costs=costs) for size in sizes}
        # A CPU trains in float32, unless the recipe says otherwise.
        memories = {size: plan.memory_float32 or plan.memory for size, plan in plans.items()}
        estimated = {size: memory["ddp"].total for size, memory in memories.items()}
        fitting = [size for size, peak in estimated.items() if peak <= USABLE_MEMORY * total]
        return Memory("CPU (estimated)", total, dict(estimated), max(fitting, default=None))
    peaks = fitting_sizes(recipe, device, sizes, tried_methods(recipe))
    fitting = [size for size, peak in peaks.items() if peak is not None]
    total = torch.cuda.get_device_properties(device).total_memory
    return Memory(torch.cuda.get_device_name(device), total, peaks, max(fitting, default=None))
