"""Keeps the model at every anchor, and ends the run at the last."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch
import torch.distributed as dist
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.errors import RunFailed
from lmeff.formats.plan import PlanAnchor, PlanDocument
from lmeff.models.device import device_name
from lmeff.plan.compute import flops_of
from lmeff.revisions import RevisionStore
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.engines.engine import used
from lmeff.training.trainer import LmeffTrainer


class AnchorMeasures(Protocol):
    """What is measured of a run's revisions at their anchors."""

    are_at_anchors: bool
    """Whether anything is."""

    def at_anchor(self, revision: Path) -> None:
        """Measures a revision that was just saved. Collective: returns on every process when all is measured, or when the run
        was asked to stop; the next call does the rest."""

    def scores(self, revision: Path) -> Mapping[str, float]:
        """A revision's scores, by task and metric, as far as there are any."""


@dataclass
class AnchorCallback(RunCallback):
    priority: ClassVar[Priority] = Priority.KEEP_ANCHOR
    name: ClassVar[str] = "anchors"

    trainer: LmeffTrainer
    store: RevisionStore
    plan: PlanDocument
    part: str | None
    """The part of the run that is trained, None when it has no parts."""
    train_tokens: int
    """Positions of one pass over the training text, for the epoch."""
    measures: AnchorMeasures

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        if state.global_step == 0:
            self._fire(state)
        elif self.measures.are_at_anchors:
            # The run may have been stopped while it scored its newest anchor; a finished evaluation is not done again.
            reached = [anchor for anchor in self.plan.anchors if anchor.step <= state.global_step]
            for anchor in reached[-1:]:
                self._score(self.store.path(anchor.nominal_tokens))
        self.trainer.start_timer()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self.trainer.seek_learning_rate()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_) -> None:
        self.trainer.num_skipped_steps += int(self.trainer.present_step_was_left_out())
        state.epoch = self.plan.clock.epochs_at(state.global_step, self.train_tokens)
        if self._fire(state) and state.global_step == self.plan.num_steps:
            control.should_training_stop = True

    def _fire(self, state: TrainerState) -> bool:
        for anchor in self.plan.anchors:
            if anchor.step == state.global_step:
                with self.trainer.timer_stopped():
                    self._keep(anchor)
                return True
        return False

    def keep_final(self) -> None:
        """Keeps the model as it is now as the final one: it went on after the last anchor. Collective; the first process
        writes."""
        step = self.trainer.state.global_step
        tokens = self.plan.clock.tokens_at(step)
        self._keep(
            PlanAnchor(name="final", nominal_tokens=tokens, step=step, exact_tokens=tokens, deviation=0), final=True
        )

    def _keep(self, anchor: PlanAnchor, final: bool = False) -> None:
        """Writes the revision, also over one that a run left which was killed before its next checkpoint: it is the same.
        Collective; the first process writes."""
        with self.trainer.weights_to_keep():
            self._write(anchor, final)
        if self.measures.are_at_anchors:
            self._score(self.store.final_path if final else self.store.path(anchor.nominal_tokens))

    def _score(self, revision: Path) -> None:
        try:
            self.measures.at_anchor(revision)
        except torch.OutOfMemoryError as error:
            shortage = str(error).partition("\n")[0]
            raise RunFailed(f"no room to score {revision.name}: {shortage}; lower evaluation.batch_size") from None

    def _write(self, anchor: PlanAnchor, final: bool) -> None:
        trainer = self.trainer
        loss, dev, writers = trainer.step_loss(), trainer.held_out_loss(), [trainer.weights_writer()]
        if trainer.recipe.publish.optimizer:
            writers.append(trainer.optimizer_writer())
        if not (math.isfinite(loss or 0.0) and math.isfinite(dev.loss)):
            raise RunFailed(
                f"the loss is {loss} at step {anchor.step} (held out: {dev.loss}), so the anchor {anchor.name} is not kept;"
                " lower optimizer.learning_rate or lengthen schedule.warmup"
            )
        if trainer.args.process_index == 0:
            losses = {
                "loss": loss,
                "loss_steps": None if loss is None else (anchor.step, anchor.step),
                "loss_kind": None if trainer.objective.loss_kind == "causal" else trainer.objective.loss_kind,
                **dev.fields(),
                "dev_tokens": trainer.dev_tokens,
            }

            def write(folder: Path) -> None:
                for writer in writers:
                    writer(folder)

            self.store.save(write, self._facts(anchor) | losses, final=final)
        if dist.is_initialized():
            dist.barrier()

    def _facts(self, anchor: PlanAnchor) -> dict:
        args = self.trainer.args
        return {
            "nominal_tokens": anchor.nominal_tokens,
            "exact_tokens": anchor.exact_tokens,
            "step": anchor.step,
            "epoch": self.plan.clock.epochs_at(anchor.step, self.train_tokens),
            "seed": self.plan.seed,
            "mode": self.plan.mode,
            "part": self.part,
            "num_loss_tokens": self.trainer.loss_positions.after(anchor.step),
            "num_skipped_steps": self.trainer.num_skipped_steps,
            "train_seconds": round(self.trainer.train_seconds, 3),
            "flops": flops_of(self.trainer.recipe, [(0, anchor.step)]),
            **self.trainer.facts_of_methods(anchor.step),
            **used(self.trainer),
            "world_size": args.world_size,
            "device": device_name(args.device),
        }
