"""The seam for learning methods: how a run may differ from training its objective on sequences in their plain order.

Training knows methods only by this interface; `lmeff.run` hands them in. Several fold over each other: each wraps the objective
and the order that the one before it made, so a distilled curriculum is a list of two methods.

How the methods that there are use it:

Distillation wraps the objective. Its `prepare` runs the teachers beside the student, on the device and without gradients, and
puts what they say into `targets`; teachers belong to the wrapper and not to the model, so no engine shards, trains or saves
them. Its `losses` adds the teachers' term to the student's: `loss` is the sum that is minimized, `nats` stays the student's own
cross-entropy, so that logs and held-out losses compare with plain runs, and further entries become columns of the log by its
callback, with `trainer.share_of_step`. Soft targets read from disk need the sequence's id, which the micro-batch has, and no
forward pass. Its `flops` are those of the teachers.

A curriculum wraps the order. Sequences of a stage are a pure function of (seed, stage, step - first step of the stage). Its
callback looks at the held-out loss at the end of a step and, where a stage ends, scores documents and extends the order. Scores
are the same on every process, so all take the same decision. The decision is in the order's `state`, which a checkpoint of the
same step has before it is sealed. Its `flops` are those of scoring.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import Trainer

from lmeff.objectives import Objective
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.tokens import DataOrder
from lmeff.training.callbacks.callback import RunCallback


class Method:
    """A learning method. This one changes nothing; others override what they change."""

    def wrap_objective(self, inner: Objective) -> Objective:
        return inner

    def wrap_order(self, inner: DataOrder) -> DataOrder:
        return inner

    def wrap_tried_objective(self, inner: Objective) -> Objective:
        """As `wrap_objective`, where it is only tried how much memory a step takes, before `before_training`."""
        return inner

    def before_training(self, trainer: Trainer, check_stop: Callable[[], None]) -> None:
        """Called once on every process when the trainer, a `LmeffTrainer`, is complete, before it trains or goes on: for what
        takes long and is the same for all steps. `check_stop` raises when the run was asked to stop; what is done by then is to
        be found again."""

    def callbacks(self, trainer: Trainer) -> Sequence[RunCallback]:
        """Called once, when the trainer, a `LmeffTrainer`, is complete. Those that change what comes have the priority LEARN,
        those that add to the log SUM_UP."""
        return ()

    def provenance(self) -> Mapping[str, Any]:
        """What a model was made with beside its text and settings, by name, for `provenance.json`."""
        return {}

    def costs(self) -> MethodCosts:
        """What the method costs in the whole run, for its plan."""
        return NOTHING_BESIDE

    def flops(self, step: int) -> Mapping[str, float]:
        """What the method computed beside training the model in the first `step` steps, by its name in anchor.json."""
        return {}

    def facts(self, step: int) -> Mapping[str, Any]:
        """What else anchor.json says of the first `step` steps, by its name there."""
        return {}
