"""Predicting every token from those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lmeff.objectives.labels import IGNORED, labeled_losses
from lmeff.objectives.objective import Objective, Pieces
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import BOS_ID, PAD_ID, Tokens, prepare_packing
from lmeff.tokens.packing import position_ids

if TYPE_CHECKING:
    import torch

    from lmeff.objectives.held_out import HeldOutLoss, HeldOutText


class CausalObjective(Objective):
    """Next-token cross-entropy.

    There is no loss at the first position of a piece, at padding, and where what stands before a token in its row does not
    stand before it in the text: at a later part of a document, and, where documents are kept apart, at every `<s>`.
    """

    name = "causal"

    def __init__(self, z_loss: float = 0.0) -> None:
        self.z_loss, self.takes_fused_loss = z_loss, not z_loss

    def inputs(self, pieces: Pieces) -> dict[str, Any]:
        """`input_ids`, and labels as transformers has them: (pieces, length) int64, not shifted yet. With documents kept apart
        also `position_ids`."""
        import torch

        input_ids, begins = pieces.input_ids, pieces.begins
        unpredicted = begins if pieces.keeps_documents_apart else begins & (input_ids != BOS_ID)
        labels = np.where(unpredicted | (input_ids == PAD_ID), IGNORED, input_ids)
        labels[:, 0] = IGNORED
        inputs = {"input_ids": torch.from_numpy(input_ids), "targets": {"labels": torch.from_numpy(labels)}}
        if pieces.keeps_documents_apart:
            inputs["position_ids"] = torch.from_numpy(position_ids(begins))
            # transformers makes a mask from positions that restart when it gets no other mask and no cache; for flash attention
            # it does so only where a batch is a single row.
            inputs["use_cache"] = False
        return inputs

    def num_labeled(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return targets["labels"][:, 1:].ne(IGNORED).sum()

    def losses(
        self, logits: torch.Tensor, targets: dict[str, torch.Tensor], num_labeled: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        from torch.nn.functional import pad

        # Position t predicts token t + 1. Labels are shifted rather than logits, which would be copied for that.
        following = pad(targets["labels"], (0, 1), value=IGNORED)[:, 1:].contiguous()
        return labeled_losses(logits, following, num_labeled, self.z_loss)

    def label_weights(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import pad

        return pad(targets["labels"], (0, 1), value=IGNORED)[:, 1:].ne(IGNORED).float()

    def loss_positions(self, tokens: Tokens, batch: Batch, length: int) -> np.ndarray | int:
        whole, per_piece = batch.sequence_length, batch.sequence_length // length
        padding: np.ndarray | int = 0
        if batch.packing == "best_fit":
            packing = prepare_packing(tokens, whole)
            rows, columns = packing.places()
            num_sequences, filled = packing.num_sequences, np.bincount(rows, packing.sizes).astype(np.int64)
            # Of the padding, the first positions of pieces have no loss anyway.
            padding = whole - filled - (per_piece - -(-filled // length))
            unpredicted = np.ones(len(rows), bool) if batch.document_mask else np.asarray(packing.goes_on)
        elif not batch.document_mask:
            return whole - per_piece
        else:
            num_sequences = tokens.train.num_tokens // whole
            documents = np.asarray(tokens.train_documents[:, 0])
            rows, columns = np.divmod(documents.cumsum() - documents, whole)
            unpredicted = rows < num_sequences
        rows = rows[unpredicted & (columns % length > 0)]
        return whole - per_piece - padding - np.bincount(rows, minlength=num_sequences)

    def held_out_text(self, tokens: Tokens, max_tokens: int, batch: Batch) -> HeldOutText:
        from lmeff.objectives.held_out import held_out_text

        return held_out_text(tokens, max_tokens, batch.sequence_length, batch.document_mask)

    def held_out_sums(
        self, model: torch.nn.Module, text: HeldOutText, rows: np.ndarray, batch_size: int, device: torch.device
    ) -> torch.Tensor:
        from lmeff.objectives.held_out import causal_sums

        return causal_sums(model, text, rows, batch_size, device)

    def held_out_loss(self, sums: torch.Tensor, text: HeldOutText) -> HeldOutLoss:
        from lmeff.objectives.held_out import summarize

        return summarize(sums, text)
