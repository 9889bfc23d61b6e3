"""A plan as text: what `lmeff plan` prints, and what a run says before its first stage."""

from collections.abc import Mapping, Sequence

from lmeff.formats.plan import PlanDocument, PlanMemory
from lmeff.formats.run_folder import RunFolder
from lmeff.models.families import FAMILIES
from lmeff.plan.budget import budget_lines
from lmeff.plan.memory import Engine
from lmeff.quantities import format_bytes, format_duration, format_short, format_tokens
from lmeff.recipe.schema import Recipe
from lmeff.text_tables import table_lines


def _sequences(plan: PlanDocument) -> list[str]:
    """What sequences are, where they are not just blocks of the text."""
    words = ["packed by best fit"] if plan.packing == "best_fit" else []
    words += ["documents do not see each other"] if plan.document_mask else []
    stages = [f"{length} from step {first:,}" for first, length in plan.length_stages]
    words += [f"lengths {', '.join(stages)}"] if len(stages) > 1 else []
    return [f"sequences  {'; '.join(words)}"] if words else []


def _memory(plan: PlanDocument, memory: Mapping[Engine, PlanMemory], precision: str) -> list[str]:
    rows = [["", "states", "activations", "logits", "in all"]]
    for name, one in memory.items():
        if name == "ddp" or plan.world_size > 1:
            label = name if plan.world_size > 1 else ""
            rows.append([label, *map(format_bytes, (one.states, one.activations, one.logits, one.total))])
    teachers = ", with its teachers" if plan.flops_teachers is not None and plan.teacher_cache_bytes is None else ""
    title = f"estimated memory of one device at this micro-batch, in {precision}{teachers}:"
    return [title, *table_lines(rows, ">", "  ")]


def _attention_words(plan: PlanDocument) -> str:
    """How attention is counted, where that can be said in two ways or is not as for most models."""
    if FAMILIES[plan.family].looks_both_ways:
        return ", attention counted both ways"
    if plan.flops_per_token_causal == plan.flops_per_token:
        return ", attention counted both ways" if plan.objective == "hybrid" else ""
    rows = ", and both ways in masked rows" if plan.objective == "hybrid" else ""
    return f" ({format_short(plan.flops_per_token_causal)} counting {FAMILIES[plan.family].counted_causally}{rows})"


def _beside(plan: PlanDocument, notes: Sequence[str]) -> list[str]:
    """What learning methods compute and keep beside training."""
    lines = []
    for title, flops in (("teachers", plan.flops_teachers), ("scoring", plan.flops_scoring)):
        if flops is not None:
            lines.append(
                f"{title:10} {format_short(flops)} FLOPs, {flops / plan.total_flops:.3g} times those of training"
            )
    if plan.teacher_cache_bytes is not None:
        lines.append(
            f"{'cache':10} {format_bytes(plan.teacher_cache_bytes)} of what the teachers say (estimated), a part of the disk"
        )
    return [*lines, *(f"{'':10} {note}" for note in notes)]


def format_plan(plan: PlanDocument, speed_from: str = "", gpu: str | None = None, notes: Sequence[str] = ()) -> str:
    """What `lmeff plan` prints; `speed_from` says where the speed comes from, `gpu` for which one it was asked, `notes` what
    there is to say of learning methods."""
    parameters, name = plan.parameters, f"{plan.family} {plan.architecture or ''}".strip()
    share = parameters.embedding / parameters.total
    devices = "1 device" if plan.world_size == 1 else f"{plan.world_size} devices"
    warmup = f"{plan.warmup_steps:,} steps of warm-up ({format_tokens(plan.clock.tokens_at(plan.warmup_steps))} tokens)"
    revisions = "1 revision" if len(plan.anchors) == 1 else f"{len(plan.anchors)} revisions"
    disk, revision, hub = map(format_bytes, (plan.disk_bytes, plan.revision_bytes, plan.hub_bytes))
    counted = f", the checkpoints and {format_bytes(plan.data_bytes or 0)} of text and tokens (estimated)"
    data = counted if plan.data_bytes is not None else " and the checkpoints; text and tokens not counted"
    per_token, in_all = format_short(plan.flops_per_token), format_short(plan.total_flops)
    lines = [
        f"{plan.name}, seed {plan.seed}",
        f"model      {name} ({plan.objective}): {parameters.total:,} parameters, {parameters.non_embedding:,} in the"
        f" layers, {parameters.embedding:,} in the embeddings ({share:.0%})",
        *(budget_lines(plan.budget) if plan.budget else []),
        *([f"counted    on {counted_on}"] if (counted_on := FAMILIES[plan.family].counted_on) else []),
        f"batch      {plan.batch_tokens:,} tokens a step: {plan.sequences_per_step} sequences of {plan.sequence_length};"
        f" on {devices} {plan.micro_batch} at once, {plan.accumulation} accumulated",
        *_sequences(plan),
        f"length     {plan.num_steps:,} steps, {plan.num_tokens:,} tokens; {warmup}; no weight decay on"
        f" {FAMILIES[plan.family].without_weight_decay}",
        f"compute    {per_token} FLOPs a token{_attention_words(plan)}, {in_all} in all",
        *_beside(plan, notes),
        f"disk       {disk} for {revisions} of {revision}{data}; {hub} on the Hub with the final revision",
    ]
    if plan.mode != "snapshot":
        lines.append(
            f"parts      {len(plan.parts)}, {format_tokens(plan.trained_tokens)} tokens together: "
            + ", ".join(f"{part.name} ({part.first_step:,} to {part.last_step:,})" for part in plan.parts)
        )
    if plan.hours is not None and plan.tokens_per_second is not None:
        lines.append(
            f"time       {format_duration(plan.hours * 3600)} at {format_tokens(plan.tokens_per_second)} tokens/s"
            + (f": {speed_from}" if speed_from else "")
        )
    elif gpu:
        lines.append("time       add --mfu 0.4, the share of the GPU's 16-bit peak, or --tokens-per-second N")
    else:
        lines.append("time       give --tokens-per-second N, or --gpu NAME --mfu 0.4, or --measure to try this machine")
    rows = [["anchor", "step", "exact tokens", "deviation"]]
    rows += [
        [format_tokens(anchor.nominal_tokens), f"{anchor.step:,}", f"{anchor.exact_tokens:,}", f"+{anchor.deviation:,}"]
        for anchor in plan.anchors
    ]
    lines += ["", *table_lines(rows, ">", "  "), ""]
    if plan.memory_float32 is None:
        lines += _memory(plan, plan.memory, plan.precision or "16 bits")
    else:
        lines += _memory(plan, plan.memory, "bfloat16 (GPUs that have it)")
        lines += ["", *_memory(plan, plan.memory_float32, "float32 (other devices)")]
    if plan.world_size == 1:
        lines.append("\nwith one device ZeRO saves nothing; try --devices 4")
    return "\n".join(lines)


def format_start(recipe: Recipe, plan: PlanDocument, run: RunFolder) -> str:
    """What a run says before its first stage: where it writes, how large it is, and what it will do."""
    parameters, tasks = plan.parameters, recipe.evaluation.tasks
    anchors = f"{len(plan.anchors)} anchors" if len(plan.anchors) > 1 else "one anchor"
    parts = f", in {len(plan.parts)} parts" if plan.mode != "snapshot" else ""
    scored = f"scored on {', '.join(tasks)}" if tasks and recipe.evaluation.at_anchors else "not scored"
    return "\n".join(
        (
            f"{plan.name}, seed {plan.seed}, in {run}",
            f"  model   {format_tokens(parameters.total)} parameters, {format_tokens(parameters.non_embedding)} of them"
            f" without embeddings",
            f"  length  {format_tokens(plan.num_tokens)} tokens in {plan.num_steps:,} steps{parts}; {anchors}, {scored}",
            f"  stages  text ({recipe.corpus.name}), tokenizer and tokens in {recipe.paths.data}/;"
            f" training; {run.report_html}",
        )
    )
