"""Masked rows and causal rows in every step, for a model that stays a causal one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lmeff.clock import Clock
from lmeff.objectives.attention import groups_of, mask_of_groups
from lmeff.objectives.causal import CausalObjective
from lmeff.objectives.labels import IGNORED, labeled_losses
from lmeff.objectives.masking import Masking, is_ordinary
from lmeff.objectives.objective import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.stateless import stateless_seed, uniforms

if TYPE_CHECKING:
    import torch

_UNIT = 2.0**-20
"""What weights are counted in."""


class HybridObjective(CausalObjective):
    """GPT-BERT's mixture (Charpentier & Samuel 2024): a masked row is seen whole, and the position before a chosen token
    predicts it, as in a causal row; the attention mask alone tells them apart. The held-out loss is the causal one.

    Other than there, all tokens are equally likely to be masked, however often they were. How many rows of a step are masked
    follows from its number, so that the share is exact over the run; which of them is drawn.
    """

    name = "hybrid"
    positions_are_drawn = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe.objective.z_loss)
        self.takes_fused_loss = False
        self.masking = Masking.of_recipe(recipe)
        self.masked_rows = float(recipe.objective.settings("hybrid")["masked_rows"])
        self.causal_weight = recipe.objective.causal_weight
        self.batch_tokens = recipe.batch.tokens

    def is_masked(self, pieces: Pieces) -> np.ndarray:
        """(rows,) bool."""
        num_rows = Clock(self.batch_tokens, pieces.input_ids.shape[1]).sequences_per_step
        before, after = (
            math.floor(step * self.masked_rows * num_rows + 1e-9) for step in (pieces.step, pieces.step + 1)
        )
        drawn = uniforms([stateless_seed(self.masking.key, pieces.step, "rows")], num_rows)[0]
        ranks = drawn.argsort(kind="stable").argsort()
        chosen: np.ndarray = ranks[np.asarray(pieces.slots)] < after - before
        return chosen

    def end_at(self, num_steps: int) -> None:
        self.masking = replace(self.masking, num_steps=max(1, num_steps))

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        """As those of causal models, and what `prepare` makes a mask of: `groups`, (pieces, length) int32, and `is_masked`,
        (pieces,) bool. The targets also have what each position weighs, (pieces, length) int32 in units of `_UNIT`: engines
        round floats to their precision."""
        import torch

        inputs = super().inputs(pieces)
        is_masked = self.is_masked(pieces)
        # What does not stand before a token in the text cannot be asked for it.
        hidden, chosen = self.masking.draw(pieces, is_ordinary(pieces.input_ids) & ~pieces.begins)
        asked = np.where(chosen, pieces.input_ids, IGNORED)
        rows = torch.from_numpy(is_masked)[:, None]
        inputs["input_ids"] = torch.where(rows, torch.from_numpy(hidden), inputs["input_ids"])
        labels = torch.where(rows, torch.from_numpy(asked), inputs["targets"]["labels"])
        inputs["groups"], inputs["is_masked"] = torch.from_numpy(groups_of(pieces)), torch.from_numpy(is_masked)
        inputs["use_cache"] = False
        causal = self.masking.rate_at(pieces.step) if self.causal_weight is None else self.causal_weight
        weights = torch.where(rows, round(1 / _UNIT), round(causal / _UNIT)).int().expand(labels.shape).contiguous()
        inputs["targets"] = {"labels": labels, "weights": weights}
        return inputs

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """With `attention_mask`, (pieces, 1, length, length) bool: what sees what."""
        mask, is_masked = mask_of_groups(inputs.pop("groups")), inputs.pop("is_masked")
        inputs["attention_mask"] = mask & (is_masked[:, None, None, None] | mask.new_ones(mask.shape[-2:]).tril())
        return inputs

    def total_weight(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return _UNIT * (targets["weights"].double() * targets["labels"].ne(IGNORED))[:, 1:].sum()

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        from torch.nn.functional import pad

        following = pad(targets["labels"], (0, 1), value=IGNORED)[:, 1:].contiguous()
        return labeled_losses(logits, following, num_labeled, self.z_loss, _weights(targets))

    def label_weights(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return super().label_weights(targets) * _weights(targets)


def _weights(targets: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the positions of logits, (rows, length) float32, whether or not they have a label."""
    from torch.nn.functional import pad

    return _UNIT * pad(targets["weights"], (0, 1))[:, 1:].float()
