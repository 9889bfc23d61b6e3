"""Trains a recipe part by part, each from its start, from its newest complete checkpoint, or from the trunk it branches off."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import PrinterCallback
from transformers import ProgressCallback as StockProgressCallback

from lmeff.errors import Busy, InputError, RunFailed
from lmeff.files import locked
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.checkpoint import read_own_state
from lmeff.formats.manifest import manifest_differences
from lmeff.formats.plan import PlanDocument, PlanPart
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.models.build import build_model
from lmeff.plan import make_plan
from lmeff.plan.batch import micro_batches
from lmeff.plan.parts import TRUNK
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision, RevisionListener, RevisionStore
from lmeff.revisions.store import list_revisions
from lmeff.runs.changes import record_changes
from lmeff.runs.claim import claimed
from lmeff.runs.completed import is_done
from lmeff.runs.process import launched_rank, launched_world_size
from lmeff.runs.signals import Interrupted, StopRequests
from lmeff.runs.space import check_space
from lmeff.runs.state import RunState
from lmeff.tokens import DataOrder, Tokens
from lmeff.training.arguments import training_arguments
from lmeff.training.callbacks.anchors import AnchorCallback, AnchorMeasures
from lmeff.training.callbacks.boundary import BoundaryCallback
from lmeff.training.callbacks.convergence import ConvergenceCallback
from lmeff.training.callbacks.reporting import ProgressCallback, RunLogCallback, StateCallback
from lmeff.training.callbacks.tracking import TrackingCallback, take_trackers
from lmeff.training.checkpoints import newest_complete, unpin
from lmeff.training.data.sample_log import SampleLogCallback
from lmeff.training.engines.engine import check_engine, forget_engine, run_on_rank_zero
from lmeff.training.engines.micro import probe_micro_batch
from lmeff.training.method import Method
from lmeff.training.trainer import LmeffTrainer


@dataclass(frozen=True)
class Job:
    """What training a recipe needs from the other rooms."""

    recipe: Recipe
    run: RunFolder
    tokens: Tokens
    run_state: RunState
    recipe_yaml: str
    provenance: Mapping[str, Any]
    write_card: Callable[[PlanDocument, AnchorDocument, str], str]
    """Gives the text of README.md from the plan, the anchor and the revision's name."""
    measures: AnchorMeasures
    stop: StopRequests
    accepted_changes: list[str] | None
    """How the recipe has changed since the run began; None when no change is accepted."""
    listener: RevisionListener
    methods: Sequence[Method] = ()
    """Learning methods; each wraps the objective and the order of those before it."""


def train(job: Job, only_part: int | None = None) -> PlanDocument:
    """Trains all parts that are not done, or one of them, and keeps every anchor under `revisions/`; with the last part
    also the final model. Every process calls this.

    Raises InputError for a launcher that does not fit and for other training text than the checkpoint's, RunFailed when the
    loss is not finite or the memory full, and Interrupted, after a checkpoint, when the run was asked to stop, or when
    somebody else is still training one of its parts.
    """
    parts = make_plan(job.recipe, world_size=launched_world_size()).parts
    micro_batch = run_on_rank_zero(lambda: _saved_micro_batch(job, parts))
    if micro_batch is None and job.recipe.batch.micro == "auto":
        micro_batch = probe_micro_batch(job.recipe)
    plan = make_plan(job.recipe, world_size=launched_world_size(), micro_batch=micro_batch)
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
            _store(job, plan, []).save_final(plan.anchors[-1].nominal_tokens)
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


def _store(job: Job, plan: PlanDocument, changes: list[dict[str, Any]]) -> RevisionStore:
    return RevisionStore(
        folder=job.run.revisions,
        seed=job.recipe.seed,
        tokenizer_folder=job.tokens.tokenizer_folder,
        recipe_yaml=job.recipe_yaml,
        provenance={**job.provenance, "accepted_changes": changes},
        write_card=lambda anchor, revision: job.write_card(plan, anchor, revision),
        listener=job.listener,
        add_bos=job.recipe.tokenizer.add_bos,
    )


def _saved_micro_batch(job: Job, parts: list[PlanPart]) -> int | None:
    """The first checkpoint's micro-batch, or the largest below it that this number of processes can divide the batch into; None
    when the recipe gives one, or there is no checkpoint yet."""
    if job.recipe.batch.micro != "auto":
        return None
    found = (newest_complete(job.run.part(part.name))[0] for part in parts)
    if (checkpoint := next(filter(None, found), None)) is None:
        return None
    saved = read_own_state(checkpoint)["micro_batch"]
    return max(size for size in micro_batches(job.recipe, launched_world_size()) if size <= saved)


def _checkpoint(job: Job, part: PlanPart) -> Path | None:
    """Where a part goes on from. Raises Interrupted when the trunk is not there yet, and RunFailed when it never will be."""
    checkpoint, complaints = newest_complete(job.run.part(part.name))
    for complaint in complaints:
        print(complaint)
    if checkpoint is None and part.first_step:
        trunk = job.run.part(TRUNK)
        checkpoint = trunk.checkpoint(part.first_step)
        if wrong := manifest_differences(checkpoint):
            state = StateDocument.read(trunk)
            if state is None or state.state != "complete":
                raise Interrupted(
                    f"part {part.name} begins at step {part.first_step} of the trunk, which is not there yet"
                )
            raise RunFailed(f"part {part.name} cannot begin: {checkpoint}: {wrong[0]}")
    if checkpoint:
        print(f"going on from {checkpoint}")
        _check_new_anchors(job, part, read_own_state(checkpoint)["step"])
    return checkpoint


def _check_new_anchors(job: Job, part: PlanPart, step: int) -> None:
    """Raises InputError for an anchor that was added where the run has already been."""
    if any(change.startswith("anchors.tokens was ") for change in job.accepted_changes or ()):
        kept = {folder.name for folder in list_revisions(job.run.path)}
        for anchor in part.anchors:
            if anchor.step <= step and Revision(job.recipe.seed, anchor.nominal_tokens).name not in kept:
                raise InputError(
                    f"anchors.tokens: {anchor.name} is step {anchor.step}, and the run is at step {step} already"
                )


def _accepted(job: Job, checkpoint: Path | None, order: DataOrder) -> list[dict[str, Any]]:
    """Every change that the run has gone on with. Raises InputError when the training text, or the order in which it is read,
    is another one and that is not accepted."""
    saved = read_own_state(checkpoint) if checkpoint else None
    if saved is None:
        return record_changes(job.run, 0, [])
    # Checkpoints of older versions do not have the order's.
    order_before = saved.get("order_fingerprint", order.fingerprint)
    if saved["tokens_fingerprint"] != job.tokens.fingerprint:
        change = f"training tokens were {saved['tokens_fingerprint']}, are now {job.tokens.fingerprint}"
        advice = "restore the text and tokenizer"
    elif order_before != order.fingerprint and not job.accepted_changes:
        # Not a change of the recipe, which would have been accepted by its own name.
        change = f"the order of sequences was {order_before}, is now {order.fingerprint}"
        advice = "go on as the run began"
    else:
        return record_changes(job.run, 0, [])
    if job.accepted_changes is None:
        raise InputError(f"{checkpoint}: {change}; {advice}, or go on with --accept-changes")
    return record_changes(job.run, saved["step"], [change])


def _train_part_in_memory(job: Job, plan: PlanDocument, part: PlanPart) -> PlanDocument:
    """Trains a part, with a smaller micro-batch when the GPU's memory proves too small and the recipe leaves it open; returns
    the plan as it was carried out. Raises RunFailed when it does not."""
    while True:
        try:
            _train_part(job, plan, part)
            return plan
        except torch.OutOfMemoryError as error:
            shortage = str(error).partition("\n")[0]
        smaller = [size for size in micro_batches(job.recipe, launched_world_size()) if size <= plan.micro_batch // 2]
        # Beside others, a process alone cannot begin again: they wait for it in the middle of the step.
        if job.recipe.batch.micro != "auto" or launched_world_size() > 1 or not smaller:
            advice = f"set batch.micro={smaller[-1]}" if smaller else "use a smaller model or batch.sequence_length"
            raise RunFailed(f"{plan.micro_batch} sequences at a time do not fit the GPU: {shortage}; {advice}")
        print(f"{plan.micro_batch} sequences at a time do not fit the GPU; going on with {smaller[-1]}")
        plan = make_plan(job.recipe, world_size=1, micro_batch=smaller[-1])
        plan.write(job.run)


def _train_part(job: Job, plan: PlanDocument, part: PlanPart) -> None:
    recipe, folder = job.recipe, job.run.part(part.name)
    with ExitStack() as held:
        # Whoever was asked for one part holds its folder already.
        if folder != job.run_state.folder:
            run_on_rank_zero(lambda: held.enter_context(claimed(folder)))
        if launched_rank() == 0:
            StopRequests.forget(folder)
        checkpoint = run_on_rank_zero(lambda: _checkpoint(job, part))
        arguments = training_arguments(recipe, part, folder.path, plan.micro_batch, plan.accumulation)
        trackers = take_trackers(arguments, recipe, part.name, folder)
        trainer = LmeffTrainer(
            build_model(recipe),
            arguments,
            recipe,
            job.tokens,
            job.methods,
            pinned=lambda: {step for step in part.branch_steps if not _branch_is_done(job.run, plan, step)},
        )
        check_engine(trainer.accelerator, trainer.args)
        store = _store(job, plan, run_on_rank_zero(lambda: _accepted(job, checkpoint, trainer.order)))
        # What watches a part sees a plan that ends where the part does.
        seen = plan.model_copy(
            update={
                "anchors": part.anchors,
                "num_steps": part.last_step,
                "num_tokens": plan.clock.tokens_at(part.last_step),
                "name": f"{plan.name} {part.name}" if part.name else plan.name,
            }
        )
        states = [job.run_state]
        if part.name and job.run_state.folder != folder:
            states.append(RunState(folder, plan.clock, StateDocument.read(folder)))
        for state in states:
            state.anchors = part.anchors
        progress = ProgressCallback(seen, trainer)
        anchors = AnchorCallback(trainer, store, seen, part.name, trainer.positions_per_epoch, job.measures)
        # With checkpoints by the clock only, there would be none of the end, from which a longer run goes on.
        save_at = {*part.branch_steps, *([part.last_step] if recipe.checkpoints.every_minutes else [])}
        boundary = BoundaryCallback(trainer, lambda: job.stop.asked, recipe.checkpoints.every_minutes, save_at)
        tracking = TrackingCallback(trackers, seen, folder.log_jsonl, store.path, job.measures.scores)
        trainer.remove_callback(StockProgressCallback)
        trainer.remove_callback(PrinterCallback)
        for callback in (
            anchors,
            *(callback for method in job.methods for callback in method.callbacks(trainer)),
            *([ConvergenceCallback(trainer, folder.dev_log_jsonl)] if recipe.anchors.until else []),
            boundary,
            *([SampleLogCallback(folder.samples_jsonl, trainer)] if recipe.batch.log_samples else []),
            progress,
            RunLogCallback(tracking.log, seen, trainer, tracking.on_record),
            StateCallback(states),
            tracking,
        ):
            trainer.add_callback(callback)
        try:
            with job.stop.deferred(folder):
                if checkpoint:
                    trainer.resume(checkpoint)
                else:
                    trainer.train()
                if recipe.anchors.until and not boundary.stopped:
                    anchors.keep_final()
                    tracking.on_revision(store.final_path, trainer.state.global_step)
                    boundary.stopped = boundary.was_asked_to_stop()
        except torch.OutOfMemoryError:
            forget_engine(trainer)
            raise
        finally:
            progress.close()
            tracking.close()
        if boundary.stopped:
            raise Interrupted
        if part.name and trainer.is_world_process_zero():
            states[-1].step = part.last_step
            states[-1].write("complete")
            if part.first_step and _branch_is_done(job.run, plan, part.first_step):
                unpin(job.run.part(TRUNK), part.first_step, recipe.checkpoints.keep)
        forget_engine(trainer)


def _branch_is_done(run: RunFolder, plan: PlanDocument, step: int) -> bool:
    return all(is_done(run, part) for part in plan.parts if part.first_step == step)
