"""Estimated memory of one device in data-parallel and ZeRO training, as in ZeRO (Rajbhandari et al. 2020, section 3)."""

from typing import Literal

from lmeff.formats.plan import PlanMemory
from lmeff.models.families import Family
from lmeff.plan.batch import micro_batches
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.plan.gpus import Gpu
from lmeff.recipe.schema import Recipe

Engine = Literal["ddp", "zero1", "zero2", "zero3"]

USABLE_MEMORY = 0.9
WORK_SPACES = 2 * 32 * 2**20
"""cuBLAS's on a Hopper GPU, counted for every device, a CPU too, which has none; taken to be one for the thread of the forward
pass and one for that of the backward pass. This was not looked at by itself: the models of `tests/plan/test_measured_memory.py`
took 65 to 200 MB beside what is counted below, at micro-batches of 8 to 32, most of them 70 to 85."""


def _state_bytes(num_parameters: int, world_size: int, half: bool) -> dict[Engine, int]:
    """Weights, gradients and AdamW states by engine. In 16-bit training (`half`), DDP keeps all of them in float32, 16 bytes a
    parameter; ZeRO keeps 16-bit weights and gradients, and a float32 copy of the weights beside the states."""
    weights, gradients, optimizer = (2, 2, 12) if half else (4, 4, 8)
    per_parameter: dict[Engine, float] = {
        "ddp": 16.0,
        "zero1": weights + gradients + optimizer / world_size,
        "zero2": weights + (gradients + optimizer) / world_size,
        "zero3": (weights + gradients + optimizer) / world_size,
    }
    return {engine: round(num_bytes * num_parameters) for engine, num_bytes in per_parameter.items()}


def device_memory(
    recipe: Recipe,
    family: Family,
    micro_batch: int,
    world_size: int,
    *,
    half: bool,
    costs: MethodCosts = NOTHING_BESIDE,
) -> dict[Engine, PlanMemory]:
    """Bytes on one device by engine: `ddp`, `zero1`, `zero2`, `zero3`. `half` says that training is in 16 bits. Teachers
    that are asked in every step are whole on every device, with their logits beside the student's, both in that precision."""
    length, bytes_each = recipe.batch.sequence_length, 2 if half else 4
    num_tokens = micro_batch * length
    activations = family.activation_bytes(num_tokens, bytes_each, length)
    activations += family.attention_dropout_bytes(recipe, num_tokens, bytes_each, length)
    activations += WORK_SPACES
    # In the loss's backward pass: log-probabilities, their gradient, and that of the logits, in float32; the logits are gone.
    bytes_per_position = family.vocab_size * 3 * 4 + costs.teacher_entries * bytes_each
    logits = family.num_logits(num_tokens, length) * bytes_per_position
    teachers = costs.teacher_parameters * bytes_each
    states = {
        engine: size + teachers
        for engine, size in _state_bytes(family.count_parameters().total, world_size, half).items()
    }
    # Autocast copies float32 matrices, once a pass; the backward pass needs the copies. ZeRO has its weights in 16 bits.
    copies = {"ddp": 2 * family.count_parameters().matmul} if half else {}
    kept = {engine: activations + copies.get(engine, 0) for engine in states}
    return {
        engine: PlanMemory(states=size, activations=kept[engine], logits=logits, total=size + kept[engine] + logits)
        for engine, size in states.items()
    }


def largest_fitting(
    recipe: Recipe,
    family: Family,
    world_size: int,
    gpu: Gpu,
    *,
    half: bool,
    costs: MethodCosts = NOTHING_BESIDE,
) -> int:
    """The largest micro-batch whose DDP estimate stays under 90% of the GPU's memory; the smallest where none does."""
    sizes, limit = micro_batches(recipe, world_size), USABLE_MEMORY * gpu.gigabytes * 1e9
    totals = {
        size: device_memory(recipe, family, size, world_size, half=half, costs=costs)["ddp"].total for size in sizes
    }
    return max((size for size, total in totals.items() if total <= limit), default=sizes[0])
