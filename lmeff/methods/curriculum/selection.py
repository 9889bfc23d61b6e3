"""Which documents a stage reads: the first ones by their scores, up to a share of the text."""

import numpy as np

_UNIT = 1e-4
"""What scores are rounded to. Equal weights have equal scores on any number of processes, as batches are fixed. A rounding
difference, such as that of another machine, seldom chooses other documents; at an edge between two values it may."""


def ranked(scores: np.ndarray, hardest_first: bool = False) -> np.ndarray:
    """Documents by their scores, (documents,) each: the lowest first, or the highest; equal ones by their number."""
    rounded = np.round(np.asarray(scores, np.float64) / _UNIT).astype(np.int64)
    return np.argsort(-rounded if hardest_first else rounded, kind="stable")


def first_documents(order: np.ndarray, document_tokens: np.ndarray, share: float, in_documents: bool) -> np.ndarray:
    """The beginning of `order`, (documents,): so many that they have the share of all tokens; `in_documents`, the share of all
    documents, rounded down, as it was published."""
    if in_documents:
        return order[: int(share * len(order))]
    if share >= 1:
        return order
    # Shares are written with a few digits; a document more for a rounding error would be one too many.
    wanted = np.ceil(round(share * int(document_tokens.sum()), 6))
    return order[: int(np.searchsorted(document_tokens[order].cumsum(), wanted, "left")) + 1]


def extended(kept: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`order` with the documents `kept` moved to its front, both in their order."""
    is_kept = np.zeros(len(order), bool)
    is_kept[kept] = True
    return np.concatenate([order[is_kept[order]], order[~is_kept[order]]])
