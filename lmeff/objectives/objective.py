"""The interface of an objective: what training, probes and held-out losses ask of it.

An objective owns the loss. A model's own loss is not used: under accumulation most heads of transformers divide by the labeled
positions of a micro-batch, so that 8 sequences as 4 x 2 give another gradient than as 1 x 8. Ours is the sum over the labeled
positions divided by their number in the whole global batch, however that is divided over devices and micro-batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lmeff.objectives.labels import IGNORED
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import Tokens

if TYPE_CHECKING:
    import torch

    from lmeff.objectives.held_out import HeldOutLoss, HeldOutText


@dataclass(frozen=True)
class Pieces:
    """A micro-batch of text: sequences, or the pieces that sequences were cut into, one after the other."""

    input_ids: np.ndarray
    """(pieces, length) int64."""
    begins: np.ndarray
    """(pieces, length) bool: where a piece, a document, a later part of a document or the padding begins. What stands before
    such a token in its row does not stand before it in the text, or belongs to another document. The first column is True."""
    sequence_ids: np.ndarray
    """(pieces,) int64: the sequence that each row is of; the pieces of one follow each other."""
    keeps_documents_apart: bool
    """Whether attention and positions restart wherever something begins (`batch.document_mask`)."""
    step: int
    """The optimizer step, counted from 0."""
    slots: Sequence[int]
    """Place of each row in the global batch. With the seed and the step it is the key of whatever is drawn for a row."""


class Objective(ABC):
    """What is predicted from what. A learning method wraps one and adds to its inputs and its losses.

    Everything here is a pure function of its arguments and the recipe, or keeps what it needs in `state`.
    """

    name: str
    takes_fused_loss: bool = False
    """Whether the loss is plain next-token cross-entropy, which a kernel such as Liger's computes without logits."""
    positions_are_drawn: bool = False
    """Whether what has a loss is drawn, so that `loss_positions` cannot say how many: they are counted as training goes on."""

    @property
    def loss_kind(self) -> str:
        """Losses of different kinds are not comparable."""
        return self.name

    def end_at(self, num_steps: int) -> None:  # noqa: B027 - most have no schedule
        """Schedules of what is drawn end after so many steps, and not with the run: in a part with a schedule of its own."""

    # ------------------------------------------------------------------ a step

    @abstractmethod
    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        """What the model's forward pass is given, by name, or what `prepare` makes of it, and under `targets` a dictionary with
        what `losses` needs beside the logits. Tensors on the CPU; the trainer moves them. Pure in (seed, step, slots): called
        where batches are made, for a whole step at once."""

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The model's inputs, of those on the device: with masks that are too large for all micro-batches of a step, and with
        what a second model says about them, such as a teacher. Called before every forward pass, outside what is compiled, and
        without gradients."""
        return inputs

    @abstractmethod
    def num_labeled(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Positions with a loss in a micro-batch, an int64 scalar."""

    def total_weight(self, targets: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """What a micro-batch's positions with a loss weigh together, a float64 scalar; None where each weighs 1."""
        return None

    @abstractmethod
    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """A micro-batch's share of the global batch's losses, scalars: their sum over all micro-batches and processes is the
        loss of the step.

        `loss` is what is minimized. `nats`, where present, is what logs and anchors call the loss: the model's own
        cross-entropy where more than that is minimized. All others are columns that a method reports.

        Args:
            logits: (batch, length, vocabulary), in the precision of the forward pass.
            targets: what `inputs` (and `prepare`) put there.
            num_labeled: positions with a loss in the global batch, or what they weigh together, a scalar.
        """

    def label_weights(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """What each position of the logits weighs in the loss, (batch, positions) float32; 0 where there is none. This is for
        objectives whose labels stand where their logits do."""
        return targets["labels"].ne(IGNORED).float()

    # ------------------------------------------------------------------ facts

    @abstractmethod
    def loss_positions(self, tokens: Tokens, batch: Batch, length: int) -> np.ndarray | int:
        """Positions with a loss in each sequence of the text, (sequences,) int64, when sequences are cut to pieces of `length`;
        one number where all have equally many. Needs no torch. Not asked where `positions_are_drawn`."""

    # ------------------------------------------------------------------ held-out text

    @abstractmethod
    def held_out_text(self, tokens: Tokens, max_tokens: int, batch: Batch) -> HeldOutText:
        """Always the same windows of about `max_tokens` held-out tokens."""

    @abstractmethod
    def held_out_sums(
        self, model: torch.nn.Module, text: HeldOutText, rows: np.ndarray, batch_size: int, device: torch.device
    ) -> torch.Tensor:
        """(nats, predicted tokens) summed over the windows `rows`, float64.

        Under ZeRO-3 a forward pass is a collective, so every process must pass equally many rows. A row of -1 is a filler that
        counts nothing. The result is this process's share.
        """

    @abstractmethod
    def held_out_loss(self, sums: torch.Tensor, text: HeldOutText) -> HeldOutLoss:
        """The loss, from the sums over all windows."""

    # ------------------------------------------------------------------ checkpoints

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, as JSON takes it; empty where everything follows from seed and step."""
        return {}

    def load_state(self, saved: dict[str, Any]) -> None:
        """Goes on from a checkpoint's `state`. Raises ValueError for that of another objective."""
        if saved:
            raise ValueError(f"the objective '{self.name}' keeps no state, and the checkpoint has {', '.join(saved)}")


class WrappedObjective(Objective):
    """Another objective, changed. Whoever derives from it overrides what differs."""

    def __init__(self, inner: Objective) -> None:
        self.inner, self.name = inner, inner.name
        self.positions_are_drawn = inner.positions_are_drawn

    def end_at(self, num_steps: int) -> None:
        self.inner.end_at(num_steps)

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        return self.inner.inputs(pieces)

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.inner.prepare(inputs)

    def num_labeled(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.inner.num_labeled(targets)

    def total_weight(self, targets: dict[str, torch.Tensor]) -> torch.Tensor | None:
        return self.inner.total_weight(targets)

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return self.inner.losses(logits, targets, num_labeled)

    def label_weights(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.inner.label_weights(targets)

    def loss_positions(self, tokens: Tokens, batch: Batch, length: int) -> np.ndarray | int:
        return self.inner.loss_positions(tokens, batch, length)

    def held_out_text(self, tokens: Tokens, max_tokens: int, batch: Batch) -> HeldOutText:
        return self.inner.held_out_text(tokens, max_tokens, batch)

    def held_out_sums(
        self, model: torch.nn.Module, text: HeldOutText, rows: np.ndarray, batch_size: int, device: torch.device
    ) -> torch.Tensor:
        return self.inner.held_out_sums(model, text, rows, batch_size, device)

    def held_out_loss(self, sums: torch.Tensor, text: HeldOutText) -> HeldOutLoss:
        return self.inner.held_out_loss(sums, text)

    def own_state(self) -> dict[str, Any]:
        """As `state`, of this wrapper alone."""
        return {}

    def load_own_state(self, saved: dict[str, Any]) -> None:
        """As `load_state`, of this wrapper alone."""

    def state(self) -> dict[str, Any]:
        parts = {"own": self.own_state(), "inner": self.inner.state()}
        return {name: part for name, part in parts.items() if part}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.load_own_state(saved.get("own", {}))
        self.inner.load_state(saved.get("inner", {}))
