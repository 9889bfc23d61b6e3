"""Trains a recipe part by part, each from its start, from its newest complete checkpoint, or from the trunk it branches off."""

import torch
import torch.distributed as dist

from lmeff.errors import Busy, RunFailed
from lmeff.files import locked
from lmeff.formats.plan import PlanDocument, PlanPart
from lmeff.formats.state import StateDocument
from lmeff.logs import say
from lmeff.models.device import is_out_of_memory
from lmeff.plan import make_plan
from lmeff.plan.batch import micro_batches
from lmeff.runs.completed import is_done
from lmeff.runs.process import launched_rank, launched_world_size
from lmeff.runs.signals import Interrupted
from lmeff.runs.space import check_space
from lmeff.runs.state import RunState
from lmeff.training.arguments import uses_cpu
from lmeff.training.continuation import saved_micro_batch
from lmeff.training.engines.engine import free_memory, run_on_rank_zero
from lmeff.training.engines.micro import probe_micro_batch
from lmeff.training.job import Job, revision_store
from lmeff.training.part import train_part


def train(job: Job, only_part: int | None = None) -> PlanDocument:
    """Trains all parts that are not done, or one of them, and keeps every anchor under `revisions/`; with the last part
    also the final model. Every process calls this.

    Raises InputError for a launcher that does not fit and for other training text than the checkpoint's, RunFailed when the
    loss is not finite or the memory full, and Interrupted, after a checkpoint, when the run was asked to stop, or when
    somebody else is still training one of its parts.
    """
    parts = make_plan(job.recipe, world_size=launched_world_size()).parts
    micro_batch = run_on_rank_zero(lambda: saved_micro_batch(job, parts))
    if micro_batch is None and job.recipe.batch.micro == "auto":
        micro_batch = probe_micro_batch(job.recipe, job.methods)
    plan = make_plan(job.recipe, world_size=launched_world_size(), micro_batch=micro_batch, costs=job.costs)
    if launched_rank() == 0:
        plan.write(job.run)
        check_space(job.run, plan)
    busy = []
    for index, part in enumerate(parts):
        if only_part in (None, index) and not run_on_rank_zero(lambda part=part: is_done(job.run, part)):
            try:
                plan = _train_part_in_memory(job, plan, part)
            except Busy as error:
                if only_part is not None:
                    raise
                busy.append(str(error))
    if busy and not run_on_rank_zero(lambda: _all_done(job, plan)):
        raise Interrupted("\n".join(busy) + "\nall other parts are done")
    if launched_rank() == 0 and not job.recipe.anchors.until and _all_done(job, plan):
        with locked(job.run.final_lock):
            revision_store(job, plan, []).save_final(plan.anchors[-1].nominal_tokens)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return plan


def finish_state(job: Job, plan: PlanDocument) -> None:
    """Says `complete` in the state of what was asked for, and in the run's when all its parts are done."""
    if job.run_state.folder == job.run:
        if not job.recipe.anchors.until:
            job.run_state.step = plan.num_steps
        job.run_state.write("complete")
    elif _all_done(job, plan):
        whole = RunState(job.run, plan.clock, StateDocument.read(job.run))
        whole.step = plan.num_steps
        whole.write("complete")


def _all_done(job: Job, plan: PlanDocument) -> bool:
    return all(part.name is None or is_done(job.run, part) for part in plan.parts)


def _train_part_in_memory(job: Job, plan: PlanDocument, part: PlanPart) -> PlanDocument:
    """Trains a part, with a smaller micro-batch when the GPU's memory proves too small and the recipe leaves it open; returns
    the plan as it was carried out. Raises RunFailed when it does not."""
    while True:
        try:
            train_part(job, plan, part)
            return plan
        except RuntimeError as error:
            # A CPU's shortage is an ordinary RuntimeError, and no smaller micro-batch is tried there.
            if not isinstance(error, torch.OutOfMemoryError) and (uses_cpu() or not is_out_of_memory(error)):
                raise
            shortage = str(error).partition("\n")[0]
        # Only now nothing refers to the engine that did not fit, but itself.
        free_memory()
        smaller = [size for size in micro_batches(job.recipe, launched_world_size()) if size <= plan.micro_batch // 2]
        # Beside others, a process alone cannot begin again: they wait for it in the middle of the step.
        if job.recipe.batch.micro != "auto" or launched_world_size() > 1 or not smaller:
            advice = f"set batch.micro={smaller[-1]}" if smaller else "use a smaller model or batch.sequence_length"
            raise RunFailed(f"{plan.micro_batch} sequences at a time do not fit the GPU: {shortage}; {advice}")
        say(f"{plan.micro_batch} sequences at a time do not fit the GPU; going on with {smaller[-1]}")
        plan = make_plan(job.recipe, world_size=1, micro_batch=smaller[-1], costs=job.costs)
        plan.write(job.run)
