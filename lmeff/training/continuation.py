"""Where a run goes on from: its checkpoint, and what has changed since."""

from pathlib import Path
from typing import Any

from lmeff.errors import InputError, RunFailed
from lmeff.formats.checkpoint import read_own_state
from lmeff.formats.manifest import manifest_differences
from lmeff.formats.plan import PlanPart
from lmeff.formats.state import StateDocument
from lmeff.logs import say
from lmeff.plan.batch import micro_batches
from lmeff.plan.parts import TRUNK
from lmeff.revisions import Revision
from lmeff.revisions.store import list_revisions
from lmeff.runs.process import launched_world_size
from lmeff.runs.signals import Interrupted
from lmeff.runs.state import record_changes
from lmeff.tokens import DataOrder
from lmeff.training.checkpoints import newest_complete
from lmeff.training.job import Job


def saved_micro_batch(job: Job, parts: list[PlanPart]) -> int | None:
    """The first checkpoint's micro-batch, or the largest below it that this number of processes can divide the batch into; None
    when the recipe gives one, or there is no checkpoint yet."""
    if job.recipe.batch.micro != "auto":
        return None
    found = (newest_complete(job.run.part(part.name))[0] for part in parts)
    if (checkpoint := next(filter(None, found), None)) is None:
        return None
    saved = read_own_state(checkpoint)["micro_batch"]
    return max(size for size in micro_batches(job.recipe, launched_world_size()) if size <= saved)


def find_checkpoint(job: Job, part: PlanPart) -> Path | None:
    """Where a part goes on from. Raises Interrupted when the trunk is not there yet, and RunFailed when it never will be."""
    checkpoint, complaints = newest_complete(job.run.part(part.name))
    for complaint in complaints:
        say(complaint)
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
        say(f"going on from {checkpoint}")
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


def accept_changes(job: Job, checkpoint: Path | None, order: DataOrder) -> list[dict[str, Any]]:
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
