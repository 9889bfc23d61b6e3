"""The objective of a student: that of its recipe, and a term of its teachers."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch.utils.checkpoint import checkpoint

from lmeff.methods.distillation.terms import TeacherTerm
from lmeff.objectives import Objective, Pieces, WrappedObjective
from lmeff.recipe.schema import Recipe

COLUMN = "teacher"
"""The teachers' term among the losses of a step: nats for each position with a loss, whatever `reduction` is."""
_SAID, _NUM_ROWS = "teacher", "num_rows"
_CHUNK_NUMBERS = 1 << 24
"""Logits whose losses are computed together, 64 MiB in float32."""


class Knowledge(Protocol):
    """Where a student knows from what its teachers say: from themselves, or from what is kept of them."""

    @property
    def term(self) -> TeacherTerm: ...

    def for_pieces(self, pieces: Pieces) -> dict[str, torch.Tensor]:
        """What is known when a batch is made, on the CPU."""

    def for_inputs(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """What is known of the inputs of a forward pass, on their device."""


class DistilledObjective(WrappedObjective):
    """`alpha` x cross-entropy + (1 - `alpha`) x T^2 x KL(teachers || student) over the positions with a loss (Hinton et al.
    2015; as in BabyLlama, Timiryasov & Tastet 2023). Logs and held-out losses are the student's own cross-entropy."""

    def __init__(self, inner: Objective, recipe: Recipe, knowledge: Knowledge, identity: list[str]) -> None:
        """`identity` is equal for equal teachers: a run goes on with these alone."""
        super().__init__(inner)
        settings, self._batch = recipe.distillation, recipe.batch
        self.alpha, self.temperature, self.reduction = settings.alpha, settings.temperature, settings.reduction
        self.knowledge, self._identity = knowledge, identity

    @property
    def loss_kind(self) -> str:
        return self.inner.loss_kind

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        inputs = self.inner.inputs(pieces)
        clock, length = self._batch.clock, pieces.input_ids.shape[1]
        num_rows = clock.sequences_at(1) * (clock.sequence_length // length)
        own = {_SAID: self.knowledge.for_pieces(pieces), _NUM_ROWS: torch.tensor(num_rows, dtype=torch.int32)}
        return inputs | {"targets": inputs["targets"] | own}

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = self.inner.prepare(inputs)
        targets = inputs["targets"]
        of_model = {name: value for name, value in inputs.items() if name != "targets"}
        return inputs | {"targets": targets | {_SAID: targets[_SAID] | self.knowledge.for_inputs(of_model)}}

    def losses(
        self, logits: torch.Tensor, targets: dict[str, Any], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Computed for a few rows at a time, and again in the backward pass, so that what is float32 and as large as the
        logits never exists for all rows at once."""
        targets = dict(targets)
        num_rows = targets.pop(_NUM_ROWS)
        divisor = num_rows if self.reduction == "batchmean" else num_labeled
        rows = max(1, _CHUNK_NUMBERS // (logits.shape[1] * logits.shape[2]))
        if rows >= len(logits):
            return self._losses_of_rows(logits, targets, num_labeled, divisor)
        total: dict[str, torch.Tensor] = {}
        for chunk, of_chunk in zip(logits.split(rows), _split(targets, rows), strict=True):
            # Not a slice for each chunk: its gradient would be as large as all logits.
            parts = checkpoint(
                self._losses_of_rows,
                chunk,
                of_chunk,
                num_labeled,
                divisor,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            total = {name: total[name] + value if name in total else value for name, value in parts.items()}
        return total

    def _losses_of_rows(
        self, logits: torch.Tensor, targets: dict[str, Any], num_labeled: torch.Tensor, divisor: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        own = self.inner.losses(logits, targets, num_labeled)
        log_q = (logits.float() / self.temperature).log_softmax(-1)
        distance = self.knowledge.term.distance(log_q, targets[_SAID])
        term = self.temperature**2 * (distance * self.inner.label_weights(targets)).sum()
        nats = own.get("nats", own["loss"])
        loss = self.alpha * nats + (1 - self.alpha) * term / divisor
        if "nats" in own:  # what else the objective minimizes weighs what it did
            loss = loss + (own["loss"] - nats)
        return own | {"loss": loss, "nats": nats, COLUMN: (term / num_labeled).detach()}

    def own_state(self) -> dict[str, Any]:
        return {"teachers": self._identity}

    def load_own_state(self, saved: dict[str, Any]) -> None:
        if saved.get("teachers") != self._identity:
            raise ValueError("its model was taught by other teachers, by the sha256 of their weights")


def _split(targets: Mapping[str, Any], rows: int) -> Iterator[dict[str, Any]]:
    """The targets of so many rows at a time; every tensor in them has all rows."""
    flat = {name: value for name, value in targets.items() if isinstance(value, torch.Tensor) and value.ndim}
    nested = {name: value for name, value in targets.items() if isinstance(value, Mapping)}
    num_rows = len(next(iter(flat.values())))
    for first in range(0, num_rows, rows):
        here = slice(first, first + rows)
        of_nested = {name: {key: one[here] for key, one in value.items()} for name, value in nested.items()}
        yield {name: value[here] for name, value in flat.items()} | of_nested
