"""Predicting tokens in a random order."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lmeff.objectives.drawn import DrawnObjective
from lmeff.objectives.labels import IGNORED, labeled_losses
from lmeff.objectives.masking import HELD_OUT, is_ordinary, numbers_of
from lmeff.objectives.objective import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.objective import most_predicted
from lmeff.tokens import PAD_ID

if TYPE_CHECKING:
    import torch


class PermutationObjective(DrawnObjective):
    """XLNet's (Yang et al. 2019). Spans of tokens are predicted, each token from all that are not and from those that come
    earlier in a random order. Spans and order are drawn as by transformers' DataCollatorForPermutationLanguageModeling, but
    for three things. As in the paper, a predicted token is not replaced in the text, since `perm_mask` hides it from all that
    must not see it, and the halves of a row have orders of their own. Special tokens have no place in the order: those that saw
    predicted tokens would tell them to others. There is no memory from row to row."""

    name = "permutation"

    def __init__(self, recipe: Recipe) -> None:
        settings = recipe.objective.settings("permutation")
        self.key: int | str = recipe.seed
        self.share, self.max_span = float(settings["predicted_share"]), int(settings["max_span"])
        self.z_loss = recipe.objective.z_loss
        self.has_padding = recipe.batch.packing == "best_fit"

    def for_held_out_text(self) -> Self:
        objective = copy(self)
        objective.key, objective.has_padding = HELD_OUT, True
        return objective

    def targets_of(self, pieces: Pieces) -> np.ndarray:
        """(rows, length) bool: what is predicted. A row is cut into contexts of 1 to `max_span` times 1 / share tokens, which
        is rounded up or down so that the share holds on average, and in each of them a span of 1 to `max_span` tokens lies
        anywhere. Where there is text, at least one token is predicted, and at least one is not: attention that may see nothing
        sees all."""
        rows, length = pieces.input_ids.shape
        num_spans = length // int(1 / self.share) + 1
        drawn = numbers_of(self.key, pieces.step, pieces.slots, "spans", 2 * num_spans + length)
        rounding = numbers_of(self.key, pieces.step, pieces.slots, "contexts", num_spans)
        is_target = np.zeros((rows, length), bool)
        for row in range(rows):
            begin = 0
            numbers = (drawn[row, :num_spans], drawn[row, num_spans : 2 * num_spans], rounding[row])
            for size, place, more in zip(*numbers, strict=True):
                span = 1 + int(size * self.max_span)
                context = int(span / self.share + more)
                first = begin + int(place * (context - span + 1))
                is_target[row, first : first + span] = True
                begin += context
        may = is_ordinary(pieces.input_ids)
        is_target &= may
        lacking = np.flatnonzero(may.any(axis=1) & ~is_target.any(axis=1))
        lowest = np.where(may, drawn[:, 2 * num_spans :], 2.0).argmin(axis=1)
        is_target[lacking, lowest[lacking]] = True
        text = pieces.input_ids != PAD_ID
        full = np.flatnonzero(text.any(axis=1) & ~(text & ~is_target).any(axis=1))
        is_target[full, lowest[full]] = False
        return is_target

    def order_of(self, pieces: Pieces, is_target: np.ndarray) -> np.ndarray:
        """(rows, length) int32: the place of each target in the order of prediction, -1 of all else."""
        rows, length = is_target.shape
        drawn = numbers_of(self.key, pieces.step, pieces.slots, "order", length)
        halves = drawn.reshape(rows, 2, length // 2).argsort(axis=2, kind="stable").argsort(axis=2)
        order = (halves + np.array([[0], [length // 2]])).reshape(rows, length)
        return np.where(is_target, order, -1).astype(np.int32)

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        """`input_ids`, (pieces, length) int64; `order`, (pieces, length) int32; `places` of the targets, (pieces, targets)
        int64, and which of them `is_taken`, float32; labels, (pieces, targets). There is room for as many targets as a row can
        have."""
        import torch

        rows, length = pieces.input_ids.shape
        is_target = self.targets_of(pieces)
        room = most_predicted(length, self.share, self.max_span)
        places, labels = np.zeros((rows, room), np.int64), np.full((rows, room), IGNORED)
        row, place = np.nonzero(is_target)
        number = (is_target.cumsum(axis=1) - 1)[row, place]
        places[row, number], labels[row, number] = place, pieces.input_ids[row, place]
        return {
            "input_ids": torch.from_numpy(pieces.input_ids),
            "order": torch.from_numpy(self.order_of(pieces, is_target)),
            "places": torch.from_numpy(places),
            "is_taken": torch.from_numpy((labels != IGNORED).astype(np.float32)),
            "use_mems": False,
            "targets": {"labels": torch.from_numpy(labels)},
        }

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """With `perm_mask`, (pieces, length, length), 1 where the second position may not look at the third, and
        `target_mapping`, (pieces, targets, length), one-hot."""
        order, places, is_taken = (inputs.pop(name) for name in ("order", "places", "is_taken"))
        # A target may be seen by those that come later in the order; all else by everything, and it sees no target.
        hidden = (order[:, :, None] <= order[:, None, :]) & (order >= 0)[:, None, :]
        if self.has_padding:
            is_padding = inputs["input_ids"] == PAD_ID
            # A row of padding alone must see something, or 16 bits make NaN of it; it has no loss.
            hidden |= (is_padding & ~is_padding.all(dim=1, keepdim=True))[:, None, :]
        # An engine has `is_taken` in the precision of its floats, which the model's inputs must have.
        inputs["perm_mask"] = hidden.to(is_taken.dtype)
        mapping = is_taken.new_zeros(*places.shape, order.shape[1])
        inputs["target_mapping"] = mapping.scatter_(2, places[..., None], is_taken[..., None])
        return inputs

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return labeled_losses(logits.contiguous(), targets["labels"], num_labeled, self.z_loss)
