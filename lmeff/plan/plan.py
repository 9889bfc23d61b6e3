"""What a run will do, step by step, and what it will cost. No torch.

Sources: FLOPs per token as in PaLM (Chowdhery et al. 2022, appendix B), 6 x matmul parameters + 12 x layers x width x length,
the input embedding being a lookup. Memory of data-parallel and ZeRO training as in ZeRO (Rajbhandari et al. 2020, section 3).
"""

import math
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Literal

from lmeff.errors import InputError
from lmeff.formats.documents import PlanAnchor, PlanDocument, PlanMemory, PlanParameters
from lmeff.models.sizes import Parameters, Shape, count_parameters, resolve_shape
from lmeff.plan.corpus_sizes import prepared_bytes
from lmeff.plan.parts import plan_parts
from lmeff.quantities import format_count
from lmeff.recipe.schema import Recipe

GPUS: dict[str, tuple[float, float]] = {
    "v100": (125.0, 32),
    "t4": (65.0, 16),
    "rtx3090": (71.0, 24),
    "rtx4090": (165.2, 24),
    "a10": (125.0, 24),
    "l4": (121.0, 24),
    "l40s": (362.0, 48),
    "a100": (312.0, 80),
    "h100": (989.4, 80),
    "h200": (989.4, 141),
    "b200": (2250.0, 180),
}
"""Dense 16-bit tensor peak in TFLOP/s and memory in GB of one GPU, from the vendor's data sheets."""
_BEFORE_AMPERE = {"v100": 7.0, "t4": 7.5}
"""Compute capability of the GPUs above without bfloat16 and TF32."""
_USABLE_MEMORY = 0.9

_CPU_MICRO_TOKENS = 4_096
_CPU_LOGITS_BYTES = 1 << 28


def plan_anchors(recipe: Recipe) -> list[PlanAnchor]:
    """Every anchor with the step at which it fires. Raises InputError when two fall on one step."""
    clock, anchors = recipe.batch.clock, list[PlanAnchor]()
    for nominal in recipe.anchors.tokens:
        step = clock.step_of(nominal)
        exact = clock.tokens_at(step)
        if anchors and anchors[-1].step == step:
            raise InputError(
                f"anchors.tokens: {anchors[-1].name} and {format_count(nominal)} both fall on step {step}"
                f" (batch.tokens is {clock.batch_tokens})"
            )
        anchors.append(
            PlanAnchor(
                name=format_count(nominal),
                nominal_tokens=nominal,
                step=step,
                exact_tokens=exact,
                deviation=exact - nominal,
            )
        )
    return anchors


def check_data(recipe: Recipe, train_tokens: int) -> None:
    """Raises InputError when the text cannot fill one sequence, or its epochs do not reach the last anchor. `train_tokens` are
    the positions of one pass, padding included."""
    length, epochs = recipe.batch.sequence_length, recipe.corpus.epochs
    if train_tokens < length:
        raise InputError(
            f"corpus: the training text has {train_tokens:,} tokens, fewer than one sequence of {length}"
            " (batch.sequence_length); give it more text or a shorter sequence"
        )
    last, clock = recipe.anchors.max_tokens or recipe.anchors.tokens[-1], recipe.batch.clock
    passes = clock.epochs_at(clock.step_of(last), train_tokens)
    if passes > epochs:
        what = "packed positions" if recipe.batch.packing == "best_fit" else "tokens"
        raise InputError(
            f"anchors.tokens: {format_count(last)} needs {passes:.2f} passes over the {train_tokens:,} {what} of training text,"
            f" and corpus.epochs allows {epochs:g}; set corpus.epochs={math.ceil(passes)} or give more text"
        )


def flops_per_token(shape: Shape, sequence_length: int, causal: bool = False) -> float:
    """Model FLOPs of one trained token, forward and backward."""
    attention = 12 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * sequence_length
    return 6 * count_parameters(shape).matmul + (attention / 2 if causal else attention)


def flops_of(recipe: Recipe, stretches: Iterable[tuple[int, int]]) -> float:
    """Model FLOPs of training from one step to another, for each of `stretches`, every step with the length that it has."""
    shape, stages, tokens = resolve_shape(recipe), recipe.batch.length_stages(), Counter[int]()
    ends = [*(first for first, _ in stages[1:]), math.inf]
    for first, last in stretches:
        for (begin, length), end in zip(stages, ends, strict=True):
            tokens[length] += recipe.batch.clock.tokens_at(max(0, min(end, last) - max(begin, first)))
    return sum(flops_per_token(shape, length) * num_tokens for length, num_tokens in tokens.items())


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def sequences_per_rank(recipe: Recipe, world_size: int) -> int:
    """Sequences of one step that one process takes. Raises InputError naming the batches that divide."""
    sequences, length = recipe.batch.clock.sequences_per_step, recipe.batch.sequence_length
    if sequences % world_size:
        below = sequences // world_size * world_size
        sizes = [str(count * length) for count in (below, below + world_size) if count]
        raise InputError(
            f"batch.tokens: {recipe.batch.tokens} is {sequences} sequences of {length}, which do not divide among"
            f" {world_size} processes; batch.tokens that do: {' or '.join(sizes)}"
        )
    return sequences // world_size


def split_batch(recipe: Recipe, world_size: int, micro_batch: int | None = None) -> tuple[int, int]:
    """(sequences a process takes at once, accumulation steps). `micro_batch` stands in for `auto`; without it the CPU's rule
    does: the largest divisor with at most 4,096 tokens and 256 MiB of logits.

    Raises InputError when the global batch cannot be divided.
    """
    share = sequences_per_rank(recipe, world_size)
    length = recipe.batch.sequence_length
    if recipe.batch.micro != "auto":
        if share % recipe.batch.micro:
            fitting = ", ".join(map(str, _divisors(share)))
            raise InputError(
                f"batch.micro: {recipe.batch.micro} does not divide the {share} sequences of a process; {fitting} do"
            )
        micro_batch = recipe.batch.micro
    elif micro_batch is None:
        limit = min(_CPU_MICRO_TOKENS, _CPU_LOGITS_BYTES // (4 * recipe.tokenizer.vocab_size)) // length
        micro_batch = max(divisor for divisor in _divisors(share) if divisor <= max(1, limit))
    return micro_batch, share // micro_batch


def micro_batches(recipe: Recipe, world_size: int) -> list[int]:
    """All micro-batches that divide a process's share of the step, ascending."""
    return _divisors(sequences_per_rank(recipe, world_size))


def gpu_capability(gpu: str | None) -> float | None:
    """The compute capability of a GPU of `GPUS` as far as it matters: 8 stands for 8 and above."""
    return None if gpu is None else _BEFORE_AMPERE.get(gpu.lower(), 8.0)


def planned_precision(recipe: Recipe, gpu: str | None = None) -> Literal["float32", "bfloat16", "float16"] | None:
    """What a run computes in; None with `training.bf16: auto` when the device is not known."""
    wanted = recipe.training.get("bf16", "auto")
    if recipe.training.get("fp16"):
        return "float16"
    if wanted == "auto" and gpu is None:
        return None
    return "bfloat16" if wanted is True or (wanted == "auto" and gpu_capability(gpu) >= 8) else "float32"


def _memory(
    recipe: Recipe, shape: Shape, total: int, micro_batch: int, world_size: int, half: bool
) -> dict[str, PlanMemory]:
    """Bytes on one device. In 16-bit training (`half`), under DDP weights, gradients and AdamW states are float32 (16 bytes a
    parameter); under ZeRO weights and gradients are 16-bit with a float32 copy beside the states."""
    width, bytes_each = shape.hidden_size, 2 if half else 4
    tokens = micro_batch * recipe.batch.sequence_length
    per_layer = 12 * width + 4 * shape.intermediate_size
    activations = tokens * shape.num_hidden_layers * per_layer * bytes_each
    logits = tokens * shape.vocab_size * (2 + 4 + 4 if half else 4 + 4 + 4)
    weights, gradients, optimizer = (2, 2, 12) if half else (4, 4, 8)
    states = {
        "ddp": 16.0,
        "zero1": weights + gradients + optimizer / world_size,
        "zero2": weights + (gradients + optimizer) / world_size,
        "zero3": (weights + gradients + optimizer) / world_size,
    }
    sizes = {name: round(per_parameter * total) for name, per_parameter in states.items()}
    return {
        name: PlanMemory(states=size, activations=activations, logits=logits, total=size + activations + logits)
        for name, size in sizes.items()
    }


def _largest_fitting(recipe: Recipe, shape: Shape, total: int, world_size: int, gpu_bytes: float, half: bool) -> int:
    """The largest micro-batch whose DDP estimate stays under 90% of the GPU."""
    sizes, limit = micro_batches(recipe, world_size), _USABLE_MEMORY * gpu_bytes
    fitting = [n for n in sizes if _memory(recipe, shape, total, n, world_size, half)["ddp"].total <= limit]
    return max(fitting, default=sizes[0])


def make_plan(
    recipe: Recipe,
    *,
    world_size: int = 1,
    micro_batch: int | None = None,
    tokens_per_second: float | None = None,
    mfu: float | None = None,
    gpu: str | None = None,
) -> PlanDocument:
    """What the recipe will do and cost.

    `tokens_per_second` counts all devices; or give `mfu` (0..1) of a `gpu`'s 16-bit peak. With a `gpu`, a micro-batch of
    `auto` is the largest that its memory holds by this estimate; a run probes it instead.

    Raises InputError for anchors, batches or models that cannot be.
    """
    shape = resolve_shape(recipe)
    parameters: Parameters = count_parameters(shape)
    anchors, length = plan_anchors(recipe), recipe.batch.sequence_length
    parts = plan_parts(recipe, anchors)
    steps = parts[-1].last_step
    if gpu is not None and gpu.lower() not in GPUS:
        raise InputError(f"--gpu: {gpu!r} is not one of {', '.join(GPUS)}; give --tokens-per-second instead")
    precision = planned_precision(recipe, gpu)
    half = precision != "float32"
    peak_tflops, gpu_gigabytes = GPUS[gpu.lower()] if gpu else (0.0, 0.0)
    if gpu and micro_batch is None and recipe.batch.micro == "auto":
        micro_batch = _largest_fitting(recipe, shape, parameters.total, world_size, gpu_gigabytes * 1e9, half)
    micro_batch, accumulation = split_batch(recipe, world_size, micro_batch)
    flops = flops_per_token(shape, length)
    trained_tokens = recipe.batch.clock.tokens_at(sum(part.last_step - part.first_step for part in parts))
    total_flops = flops_of(recipe, [(part.first_step, part.last_step) for part in parts])
    if mfu is not None:
        if tokens_per_second is not None:
            raise InputError("--mfu: give it or --tokens-per-second, not both")
        if not 0 < mfu <= 1:
            raise InputError(f"--mfu: {mfu:g} is not a share of the peak; write 0.4 for 40%")
        if not gpu:
            raise InputError(f"--mfu: of which GPU? Add --gpu with one of {', '.join(GPUS)}")
        tokens_per_second = mfu * peak_tflops * 1e12 * world_size / (total_flops / trained_tokens)
    # The optimizer's state, if it is kept, is twice as large as the weights.
    revision_bytes = 4 * parameters.total * (3 if recipe.publish.optimizer else 1)
    # The final revision shares its weights with the last anchor on disk, but is a branch of its own on the Hub.
    # One more checkpoint is written before the oldest goes. Each holds weights and two AdamW states in float32.
    has_checkpoints = recipe.checkpoints.every_steps or recipe.checkpoints.every_minutes
    num_checkpoints = sum(
        (recipe.checkpoints.keep + 1) * bool(has_checkpoints) + len(part.branch_steps) for part in parts
    )
    checkpoint_bytes = 12 * parameters.total * num_checkpoints
    num_revisions = len(anchors) + bool(recipe.anchors.until)
    data_bytes = prepared_bytes(recipe.corpus, recipe.tokenizer.vocab_size)
    memory_of = partial(_memory, recipe, shape, parameters.total, micro_batch, world_size)
    return PlanDocument(
        name=recipe.name,
        seed=recipe.seed,
        batch_tokens=recipe.batch.tokens,
        sequence_length=length,
        packing=recipe.batch.packing,
        document_mask=recipe.batch.document_mask,
        length_stages=recipe.batch.length_stages(),
        sequences_per_step=recipe.batch.clock.sequences_per_step,
        num_steps=steps,
        num_tokens=recipe.batch.clock.tokens_at(steps),
        warmup_steps=parts[-1].warmup_steps,
        mode=recipe.anchors.mode,
        parts=parts,
        trained_tokens=trained_tokens,
        anchors=anchors,
        parameters=PlanParameters(
            total=parameters.total, embedding=parameters.embedding, non_embedding=parameters.non_embedding
        ),
        flops_per_token=flops,
        flops_per_token_causal=flops_per_token(shape, length, causal=True),
        total_flops=total_flops,
        revision_bytes=revision_bytes,
        disk_bytes=revision_bytes * num_revisions + checkpoint_bytes + (data_bytes or 0),
        data_bytes=data_bytes,
        hub_bytes=revision_bytes * (len(anchors) + 1),
        world_size=world_size,
        micro_batch=micro_batch,
        accumulation=accumulation,
        precision=precision,
        memory=memory_of(half),
        memory_float32=memory_of(False) if precision is None else None,
        tokens_per_second=tokens_per_second,
        hours=trained_tokens / tokens_per_second / 3600 if tokens_per_second else None,
    )
