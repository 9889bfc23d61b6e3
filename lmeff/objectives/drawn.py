"""Objectives that draw what they predict: the number of positions with a loss is counted, and held-out text has fixed draws."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from lmeff.objectives.labels import IGNORED
from lmeff.objectives.objective import Objective, Pieces
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import Tokens

if TYPE_CHECKING:
    import torch

    from lmeff.objectives.held_out import HeldOutLoss, HeldOutText


def _in_precision_of(model: torch.nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """Floats in that of the weights, as an engine has them in training."""
    import torch

    precision = next(model.parameters()).dtype
    return {
        name: one.to(precision) if torch.is_tensor(one) and one.is_floating_point() else one
        for name, one in inputs.items()
    }


class DrawnObjective(Objective):
    """Labels are those of what was drawn, whatever else a position has."""

    positions_are_drawn = True

    @abstractmethod
    def for_held_out_text(self) -> Self:
        """The same objective with draws that are alike at every step and in every run."""

    def num_labeled(self, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return targets["labels"].ne(IGNORED).sum()

    def loss_positions(self, tokens: Tokens, batch: Batch, length: int) -> NoReturn:
        raise TypeError(f"the objective '{self.name}' draws its positions")

    def held_out_text(self, tokens: Tokens, max_tokens: int, batch: Batch) -> HeldOutText:
        from lmeff.objectives.held_out import held_out_rows

        return held_out_rows(tokens, max_tokens, batch.sequence_length, batch.document_mask)

    def held_out_sums(
        self, model: torch.nn.Module, text: HeldOutText, rows: np.ndarray, batch_size: int, device: torch.device
    ) -> torch.Tensor:
        """The draws of a window depend on its number alone."""
        import torch
        from accelerate.utils import send_to_device

        assert text.begins is not None
        objective, total = self.for_held_out_text(), torch.zeros(2, dtype=torch.float64, device=device)
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            windows, begins = text.windows[batch], text.begins[batch]
            pieces = Pieces(windows, begins, batch, text.keeps_documents_apart, 0, batch.tolist())
            inputs = objective.prepare(_in_precision_of(model, send_to_device(objective.inputs(pieces), device)))
            targets = inputs.pop("targets")
            targets["labels"][torch.from_numpy(batch < 0).to(device)] = IGNORED
            with torch.no_grad():
                logits = model(**inputs).logits
            losses = objective.losses(logits, targets, torch.ones((), device=device))
            total[0] += losses.get("nats", losses["loss"]).double()
            total[1] += objective.num_labeled(targets)
        return total

    def held_out_loss(self, sums: torch.Tensor, text: HeldOutText) -> HeldOutLoss:
        from lmeff.objectives.held_out import HeldOutLoss

        nats, count = sums.tolist()
        return HeldOutLoss(nats / count, kind=self.loss_kind)
