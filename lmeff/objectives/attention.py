"""What each position may look at, where that is neither all nor all before it.

Batches carry the group of each position; masks, which are length times as large, are made of them for one micro-batch, on the
device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmeff.objectives.objective import Pieces
from lmeff.tokens import PAD_ID

if TYPE_CHECKING:
    import torch


def groups_of(pieces: Pieces) -> np.ndarray:
    """(rows, length) int32: positions see each other only where they have the same number. The padding at the end of a row is a
    group of its own, so that nothing sees it, and it sees something."""
    if pieces.keeps_documents_apart:
        return pieces.begins.cumsum(axis=1, dtype=np.int32)
    return (pieces.input_ids == PAD_ID).astype(np.int32)


def mask_of_groups(groups: torch.Tensor) -> torch.Tensor:
    """(rows, 1, length, length) bool: True where the query, the third dimension, may look at the key, the fourth."""
    return (groups[:, :, None] == groups[:, None, :])[:, None]


def within_window(mask: torch.Tensor, window: int) -> torch.Tensor:
    """The same mask, of which nothing is left further away than `window` positions."""
    import torch

    positions = torch.arange(mask.shape[-1], device=mask.device)
    return mask & ((positions[:, None] - positions).abs() <= window)
