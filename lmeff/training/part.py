"""Trains one part of a run, and all that happens beside its steps."""

from collections.abc import Sequence
from contextlib import ExitStack

from lmeff.formats.plan import PlanDocument, PlanPart
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.models.build import build_model
from lmeff.models.device import is_out_of_memory
from lmeff.plan.parts import TRUNK
from lmeff.revisions import RevisionStore
from lmeff.runs.claim import claimed
from lmeff.runs.completed import is_done
from lmeff.runs.process import launched_rank
from lmeff.runs.signals import StopRequests
from lmeff.runs.state import RunState
from lmeff.training.arguments import training_arguments
from lmeff.training.callbacks.anchors import AnchorCallback
from lmeff.training.callbacks.boundary import BoundaryCallback
from lmeff.training.callbacks.callback import RunCallback
from lmeff.training.callbacks.convergence import ConvergenceCallback
from lmeff.training.callbacks.progress import ProgressCallback
from lmeff.training.callbacks.run_log import RunLogCallback
from lmeff.training.callbacks.run_state import StateCallback
from lmeff.training.callbacks.sample_log import SampleLogCallback
from lmeff.training.callbacks.trackers import Tracker
from lmeff.training.callbacks.tracking import TrackingCallback, take_trackers
from lmeff.training.checkpoints import unpin
from lmeff.training.continuation import accept_changes, find_checkpoint
from lmeff.training.engines.engine import check_engine, forget_engine, run_on_rank_zero
from lmeff.training.job import Job, revision_store
from lmeff.training.trainer import LmeffTrainer


def train_part(job: Job, plan: PlanDocument, part: PlanPart) -> None:
    """Trains a part to its last step, from its checkpoint if it has one. Collective: every process calls it, and it returns or
    raises the same on all. Raises what `train` does, and torch's error where memory is too small, with the engine freed."""
    folder = job.run.part(part.name)
    with ExitStack() as held:
        # Whoever was asked for one part holds its folder already.
        if folder != job.run_state.folder:
            run_on_rank_zero(lambda: held.enter_context(claimed(folder)))
        if launched_rank() == 0:
            StopRequests.forget(folder)
        checkpoint = run_on_rank_zero(lambda: find_checkpoint(job, part))
        arguments = training_arguments(job.recipe, part, folder.path, plan.micro_batch, plan.accumulation)
        trackers = take_trackers(arguments, job.recipe, part.name, folder)
        trainer = LmeffTrainer(
            build_model(job.recipe),
            arguments,
            job.recipe,
            job.tokens,
            job.methods,
            pinned=lambda: {step for step in part.branch_steps if not _branch_is_done(job.run, plan, step)},
        )
        check_engine(trainer.accelerator, trainer.args)
        store = revision_store(job, plan, run_on_rank_zero(lambda: accept_changes(job, checkpoint, trainer.order)))
        states = _states_of(job, plan, part)
        callbacks = _PartCallbacks(job, trainer, _plan_of_part(plan, part), part, store, states, trackers)
        trainer.use_callbacks(callbacks.all)
        try:
            with job.stop.deferred(folder):
                for method in job.methods:
                    method.before_training(trainer, job.stop.check)
                if checkpoint:
                    trainer.resume(checkpoint)
                else:
                    trainer.train()
                if job.recipe.anchors.until and not callbacks.boundary.stopped:
                    callbacks.keep_final()
        except RuntimeError as error:
            if is_out_of_memory(error):
                forget_engine(trainer)
            raise
        finally:
            callbacks.close()
        if callbacks.boundary.stopped:
            raise job.stop.reason
        if part.name and trainer.is_world_process_zero():
            _complete_part(job, plan, part, states[-1])
        forget_engine(trainer)


def _plan_of_part(plan: PlanDocument, part: PlanPart) -> PlanDocument:
    """A plan that ends where the part does, for what watches the part."""
    own = {
        "anchors": part.anchors,
        "num_steps": part.last_step,
        "num_tokens": plan.clock.tokens_at(part.last_step),
        "name": f"{plan.name} {part.name}" if part.name else plan.name,
    }
    return plan.model_copy(update=own)


def _states_of(job: Job, plan: PlanDocument, part: PlanPart) -> list[RunState]:
    """Whose `state.json` follows a part: what the job was asked for, and last the part's own."""
    folder, states = job.run.part(part.name), [job.run_state]
    if part.name and job.run_state.folder != folder:
        states.append(RunState(folder, plan.clock, StateDocument.read(folder)))
    for state in states:
        state.anchors = part.anchors
    return states


class _PartCallbacks:
    """What happens beside the steps of one part, and at its end."""

    def __init__(
        self,
        job: Job,
        trainer: LmeffTrainer,
        plan: PlanDocument,
        part: PlanPart,
        store: RevisionStore,
        states: Sequence[RunState],
        trackers: dict[str, Tracker],
    ) -> None:
        """`plan` is the part's own."""
        recipe, folder = job.recipe, job.run.part(part.name)
        # With checkpoints by the clock only, there would be none of the end, from which a longer run goes on.
        save_at = {*part.branch_steps, *([part.last_step] if recipe.checkpoints.every_minutes else [])}
        self._trainer, self._final = trainer, store.final_path
        self._anchors = AnchorCallback(trainer, store, plan, part.name, trainer.positions_per_epoch, job.measures)
        self.boundary = BoundaryCallback(trainer, lambda: job.stop.asked, recipe.checkpoints.every_minutes, save_at)
        self._progress = ProgressCallback(plan, trainer)
        self._tracking = TrackingCallback(trackers, plan, folder.log_jsonl, store.path, job.measures.scores)
        self.all: list[RunCallback] = [
            self._anchors,
            self.boundary,
            self._progress,
            self._tracking,
            RunLogCallback(self._tracking.log, plan, trainer, self._tracking.on_record),
            StateCallback(states),
            *(callback for method in job.methods for callback in method.callbacks(trainer)),
        ]
        """In no order: their priorities say it."""
        if recipe.anchors.until:
            self.all.append(ConvergenceCallback(trainer, folder.dev_log_jsonl))
        if recipe.batch.log_samples:
            self.all.append(SampleLogCallback(folder.samples_jsonl, trainer))

    def keep_final(self) -> None:
        """Keeps and scores the model that a run has come to which trained until it had converged. Collective; whether somebody
        asked to stop meanwhile is in `boundary.stopped`, on every process."""
        self._anchors.keep_final()
        self._tracking.on_revision(self._final, self._trainer.state.global_step)
        self.boundary.stopped = self.boundary.was_asked_to_stop()

    def close(self) -> None:
        """Ends the bar's line, and what trackers were told."""
        self._progress.close()
        self._tracking.close()


def _complete_part(job: Job, plan: PlanDocument, part: PlanPart, state: RunState) -> None:
    """On the first process: says that a part is complete, and gives up the checkpoint that it began from when no other part
    needs it."""
    state.step = part.last_step
    state.write("complete")
    if part.first_step and _branch_is_done(job.run, plan, part.first_step):
        unpin(job.run.part(TRUNK), part.first_step, job.recipe.checkpoints.keep)


def _branch_is_done(run: RunFolder, plan: PlanDocument, step: int) -> bool:
    return all(is_done(run, part) for part in plan.parts if part.first_step == step)
