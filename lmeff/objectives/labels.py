"""Labels of positions, as transformers has them, and the loss over the labeled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a position without a loss."""


def labeled_losses(
    logits: torch.Tensor,
    labels: torch.Tensor,
    divisor: torch.Tensor,
    z_loss: float = 0.0,
    weights: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Cross-entropy summed over the labeled positions, divided by `divisor`, in float32 whatever the logits are.

    With `z_loss`, `loss` also has so many times the squared log-sum-exp of the logits, and `nats` is the cross-entropy alone.

    Args:
        logits: (..., vocabulary).
        labels: (...) int64 of the same positions, contiguous.
        divisor: a scalar.
        weights: (...) float32 of the same positions; all weigh the same without them.
    """
    from torch.nn.functional import cross_entropy

    logits, labels = logits.float().view(-1, logits.shape[-1]), labels.view(-1)
    if weights is None:
        nats = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    else:
        nats = (cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none") * weights.reshape(-1)).sum()
    if not z_loss:
        return {"loss": nats / divisor}
    counted = labels.ne(IGNORED) if weights is None else labels.ne(IGNORED) * weights.reshape(-1)
    squares = (logits.logsumexp(-1).square() * counted).sum()
    return {"loss": (nats + z_loss * squares) / divisor, "nats": nats / divisor}
