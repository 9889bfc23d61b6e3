"""What a run will do, step by step, and what it will cost."""

from lmeff.errors import InputError
from lmeff.formats.plan import PlanDocument, PlanParameters
from lmeff.models.families import family_of
from lmeff.plan.anchors import plan_anchors
from lmeff.plan.batch import split_batch
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.plan.budget import plan_budget
from lmeff.plan.compute import flops_counting_causal, flops_of
from lmeff.plan.disk import checkpoint_bytes, prepared_bytes, revision_bytes
from lmeff.plan.gpus import GPUS, find_gpu, planned_precision
from lmeff.plan.memory import device_memory, largest_fitting
from lmeff.plan.parts import plan_parts
from lmeff.recipe.schema import Recipe


def make_plan(
    recipe: Recipe,
    *,
    world_size: int = 1,
    micro_batch: int | None = None,
    tokens_per_second: float | None = None,
    mfu: float | None = None,
    gpu: str | None = None,
    costs: MethodCosts = NOTHING_BESIDE,
) -> PlanDocument:
    """What the recipe will do and cost.

    `tokens_per_second` counts all devices; or give `mfu` (0..1) of a `gpu`'s 16-bit peak, by which all that is computed takes
    its time, also beside training. With a `gpu`, a micro-batch of `auto` is the largest that its memory holds by this estimate;
    a run probes it instead. `costs` are those of the recipe's learning methods, which are not known here.

    Raises InputError for anchors, batches or models that cannot be.
    """
    budget, recipe = plan_budget(recipe)
    family, clock = family_of(recipe), recipe.batch.clock
    parameters = family.count_parameters()
    anchors = plan_anchors(recipe)
    parts = plan_parts(recipe, anchors)
    # ---- the device
    device = find_gpu(gpu) if gpu is not None else None
    precision = planned_precision(recipe, device)
    half = precision != "float32"
    if device and micro_batch is None and recipe.batch.micro == "auto":
        micro_batch = largest_fitting(recipe, family, world_size, device, half=half, costs=costs)
    micro_batch, accumulation = split_batch(recipe, world_size, micro_batch)
    # ---- time
    trained_tokens = clock.tokens_at(sum(part.last_step - part.first_step for part in parts))
    total_flops = flops_of(recipe, [(part.first_step, part.last_step) for part in parts])
    if mfu is not None:
        if tokens_per_second is not None:
            raise InputError("--mfu: give it or --tokens-per-second, not both")
        computed = total_flops + (costs.flops_teachers or 0) + (costs.flops_scoring or 0)
        tokens_per_second = _peak_flops(mfu, gpu) * world_size / (computed / trained_tokens)
    # ---- disk
    one_revision = revision_bytes(recipe, parameters.total)
    data_bytes = prepared_bytes(recipe.corpus, recipe.tokenizer.vocab_size)
    # With `until: converged` the final model is a revision with weights of its own; otherwise it shares those of the last
    # anchor on disk, but is a branch of its own on the Hub.
    num_revisions = len(anchors) + bool(recipe.anchors.until)
    disk_bytes = one_revision * num_revisions + checkpoint_bytes(recipe, parameters.total, parts) + (data_bytes or 0)
    disk_bytes += costs.teacher_cache_bytes or 0
    return PlanDocument(
        name=recipe.name,
        seed=recipe.seed,
        family=recipe.model.family,
        architecture=recipe.model.architecture if recipe.model.architecture != recipe.model.family else None,
        objective=recipe.objective_name,
        batch_tokens=clock.batch_tokens,
        sequence_length=clock.sequence_length,
        packing=recipe.batch.packing,
        document_mask=recipe.batch.document_mask,
        length_stages=recipe.batch.length_stages(),
        sequences_per_step=clock.sequences_per_step,
        num_steps=parts[-1].last_step,
        num_tokens=clock.tokens_at(parts[-1].last_step),
        warmup_steps=parts[-1].warmup_steps,
        mode=recipe.anchors.mode,
        parts=parts,
        trained_tokens=trained_tokens,
        anchors=anchors,
        parameters=PlanParameters(
            total=parameters.total, embedding=parameters.embedding, non_embedding=parameters.non_embedding
        ),
        budget=budget,
        flops_per_token=family.flops_per_token(clock.sequence_length),
        flops_per_token_causal=flops_counting_causal(recipe),
        total_flops=total_flops,
        flops_teachers=costs.flops_teachers,
        flops_scoring=costs.flops_scoring,
        teacher_cache_bytes=costs.teacher_cache_bytes,
        revision_bytes=one_revision,
        disk_bytes=disk_bytes,
        data_bytes=data_bytes,
        hub_bytes=one_revision * (len(anchors) + 1),
        world_size=world_size,
        micro_batch=micro_batch,
        accumulation=accumulation,
        precision=precision,
        memory=device_memory(recipe, family, micro_batch, world_size, half=half, costs=costs),
        memory_float32=(
            device_memory(recipe, family, micro_batch, world_size, half=False, costs=costs)
            if precision is None
            else None
        ),
        tokens_per_second=tokens_per_second,
        hours=trained_tokens / tokens_per_second / 3600 if tokens_per_second else None,
    )


def _peak_flops(mfu: float, gpu: str | None) -> float:
    """FLOP/s of one GPU at a share `mfu` of its peak. Raises InputError."""
    if not 0 < mfu <= 1:
        raise InputError(f"--mfu: {mfu:g} is not a share of the peak; write 0.4 for 40%")
    if not gpu:
        raise InputError(f"--mfu: of which GPU? Add --gpu with one of {', '.join(GPUS)}")
    return mfu * find_gpu(gpu).peak_tflops * 1e12
