"""Predicting masked tokens from all others."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lmeff.objectives.attention import groups_of, mask_of_groups, within_window
from lmeff.objectives.drawn import DrawnObjective
from lmeff.objectives.labels import IGNORED, labeled_losses
from lmeff.objectives.masking import Masking, is_ordinary
from lmeff.objectives.objective import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.tokens import PAD_ID
from lmeff.tokens.packing import position_ids
from lmeff.tokens.tokenizer.word_starts import WordStarts

if TYPE_CHECKING:
    import torch


class MaskedObjective(DrawnObjective):
    """Masked language modeling (Devlin et al. 2019). The loss is that of the chosen tokens, also of those that were left
    as they are; special tokens and padding are never chosen."""

    name = "masked"

    def __init__(self, recipe: Recipe, words: WordStarts | None = None) -> None:
        self.masking = Masking.of_recipe(recipe, words)
        self.z_loss = recipe.objective.z_loss
        self.has_padding = recipe.batch.packing == "best_fit"
        self.window = recipe.model.attention_window

    def for_held_out_text(self) -> Self:
        objective = copy(self)
        objective.masking, objective.has_padding = self.masking.for_held_out_text(), True
        return objective

    def end_at(self, num_steps: int) -> None:
        self.masking = replace(self.masking, num_steps=max(1, num_steps))

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        """`input_ids` with `<mask>`, and labels where a token was chosen: (pieces, length) int64. `attention_mask` says where
        padding is; with documents kept apart, `groups` say what sees what, until `prepare` makes a mask of them."""
        import torch

        input_ids, chosen = self.masking.draw(pieces, is_ordinary(pieces.input_ids))
        labels = np.where(chosen, pieces.input_ids, IGNORED)
        inputs: dict[str, Any] = {
            "input_ids": torch.from_numpy(input_ids),
            "targets": {"labels": torch.from_numpy(labels)},
        }
        if pieces.keeps_documents_apart:
            inputs["groups"] = torch.from_numpy(groups_of(pieces))
            inputs["position_ids"] = torch.from_numpy(position_ids(pieces.begins))
        elif self.has_padding:
            is_text = pieces.input_ids != PAD_ID
            # A row of padding alone must see something; it has no loss.
            is_text[~is_text.any(axis=1)] = True
            inputs["attention_mask"] = torch.from_numpy(is_text.astype(np.int64))
        return inputs

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """With documents kept apart, `attention_mask` in the place of `groups`: (pieces, 1, length, length) bool."""
        if "groups" in inputs:
            mask = mask_of_groups(inputs.pop("groups"))
            # A model with layers that see only what is near takes a mask for each kind of layer.
            inputs["attention_mask"] = (
                mask
                if self.window is None
                else {"full_attention": mask, "sliding_attention": within_window(mask, self.window)}
            )
        return inputs

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return labeled_losses(logits, targets["labels"], num_labeled, self.z_loss)
