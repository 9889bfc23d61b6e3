"""How many sequences a GPU holds at once, tried before the engine exists."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import send_to_device

from lmeff.errors import InputError
from lmeff.models.build import build_model
from lmeff.models.device import is_out_of_memory
from lmeff.models.dropout import use_stateless_dropout
from lmeff.objectives import Pieces, objective_of
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.plan.batch import micro_batches
from lmeff.plan.memory import USABLE_MEMORY
from lmeff.recipe.schema import Recipe
from lmeff.runs.process import launched_world_size
from lmeff.training.arguments import half_precision, uses_cpu
from lmeff.training.engines.engine import free_memory
from lmeff.training.method import Method


def largest_fitting(candidates: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The largest of the ascending `candidates` before the first that does not fit."""
    best = None
    for candidate in candidates:
        if not fits(candidate):
            break
        best = candidate
    return best


def fitting_sizes(
    recipe: Recipe, device: torch.device, sizes: Sequence[int], methods: Sequence[Method] = ()
) -> dict[int, int | None]:
    """Peak bytes on the GPU by micro-batch, up to the first that does not fit, which has None."""
    fits, peaks = _fits(recipe, device, methods), {}
    for size in sizes:
        peaks[size] = torch.cuda.max_memory_allocated(device) if fits(size) else None
        if peaks[size] is None:
            break
    return peaks


def _fits(recipe: Recipe, device: torch.device, methods: Sequence[Method] = ()) -> Callable[[int], bool]:
    model = build_model(recipe).to(device)
    place = use_stateless_dropout(model, recipe.seed)
    objective = objective_of(recipe)
    for method in methods:
        objective = method.wrap_tried_objective(objective)
    compute_losses_in_forward(model, objective)
    half = half_precision(recipe)
    # The optimizer keeps two more numbers for every weight; they take their room as long as this function lives.
    model.optimizer_states = [torch.zeros_like(weight) for weight in model.parameters() for _ in range(2)]
    limit = USABLE_MEMORY * torch.cuda.get_device_properties(device).total_memory

    def fits(micro_batch: int) -> bool:
        torch.cuda.reset_peak_memory_stats(device)
        place.slots = range(micro_batch)
        # With documents kept apart, positions restart at every token, so that the model builds the mask that it will need.
        input_ids = np.zeros((micro_batch, recipe.batch.sequence_length), np.int64)
        begins, sequence_ids = np.ones(input_ids.shape, bool), np.arange(micro_batch)
        pieces = Pieces(input_ids, begins, sequence_ids, recipe.batch.document_mask, 0, place.slots)
        try:
            # A method's models compute here, which takes room, too.
            given = objective.prepare(send_to_device(objective.inputs(pieces), device))
            if getattr(model.config, "use_cache", False):
                given.setdefault("use_cache", False)
            with torch.autocast("cuda", dtype=half, enabled=half is not None):
                model(**given, num_labeled=torch.tensor(input_ids.size, device=device))["loss"].backward()
            return torch.cuda.max_memory_allocated(device) < limit
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.zero_grad(set_to_none=False)
            torch.cuda.empty_cache()

    return fits


def probe_micro_batch(recipe: Recipe, methods: Sequence[Method] = (), world_size: int | None = None) -> int | None:
    """Sequences per device for `batch.micro: auto`: None on a CPU, where a fixed rule holds, else the largest that every
    process's GPU takes, of what `world_size` processes, or those of this launch, can divide the batch into. Collective; every
    process is given the same number. Raises InputError when not even one sequence fits."""
    if recipe.batch.micro != "auto" or uses_cpu():
        return None
    state = PartialState()
    sizes = micro_batches(recipe, world_size or launched_world_size())
    best = largest_fitting(sizes, _fits(recipe, state.device, methods))
    free_memory()
    fitting = torch.tensor(best or 0, device=state.device)
    if dist.is_initialized():
        dist.all_reduce(fitting, dist.ReduceOp.MIN)
    if not fitting.item():
        raise InputError(
            "batch.micro: not even one sequence fits this GPU; use a smaller model or batch.sequence_length"
        )
    return int(fitting.item())
