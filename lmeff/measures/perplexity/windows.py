"""Cutting documents in windows that a model can take, so that every token is predicted exactly once."""

from dataclasses import dataclass

import numpy as np

from lmeff.measures.perplexity.text import HeldText
from lmeff.objectives.held_out import window_starts


@dataclass(frozen=True)
class Windows:
    """The model reads tokens [start, stop) of `ids` and predicts those from `first` on."""

    ids: np.ndarray
    """(tokens,) int64."""
    documents: np.ndarray
    """(tokens,) int64: which document a token is of."""
    is_scored: np.ndarray
    """(tokens,) bool: the tokens whose loss counts."""
    starts: np.ndarray
    """(windows,) int64."""
    stops: np.ndarray
    """(windows,) int64: the token behind the last one that is read."""
    firsts: np.ndarray
    """(windows,) int64: the first token that is predicted; those before it are context."""
    begins: np.ndarray | None = None
    """(tokens,) bool: where positions restart and nothing before is seen; None when documents are not kept apart."""


def strided_windows(text: HeldText, length: int, stride: int, score_end: bool = True) -> Windows:
    """Every document by itself. A window begins `stride` tokens after the last one, and only what that did not reach is
    predicted, so a token has at least `length - stride` tokens before it, or all there are of its document."""
    ends = text.lengths.cumsum()
    begins = ends - text.lengths
    counts = 1 + np.maximum(0, -((length - text.lengths) // stride))
    index = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    starts = np.repeat(begins, counts) + index * stride
    firsts = np.where(index == 0, starts + 1, starts - stride + length)
    is_scored = np.ones(len(text.ids), bool)
    is_scored[begins] = False
    if not score_end:
        is_scored[ends[text.has_own_end] - 1] = False
    stops = np.minimum(starts + length, np.repeat(ends, counts))
    return Windows(text.ids, _documents(text), is_scored, starts, stops, firsts)


def packed_windows(text: HeldText, length: int, document_mask: bool, score_end: bool = True) -> Windows:
    """All documents one after the other, in windows that overlap by one token, as in training and its held-out loss.

    Every token but the very first is predicted, BOS too where a document has ended: it tells that a new one begins. With
    `document_mask` documents see nothing of each other, and no BOS is predicted. Where one token is both, BOS and EOS, one
    stands between documents.
    """
    ids, documents = text.ids, _documents(text)
    ends = text.lengths.cumsum()
    is_begin = np.zeros(len(ids), bool)
    is_begin[ends - text.lengths] = True
    is_end = np.zeros(len(ids), bool)
    is_end[ends - 1] = text.has_own_end
    follows_end = is_begin.copy()
    if text.stretches is not None:
        follows_end[ends - text.lengths] = text.stretches.follows_end
    if not document_mask and (ids[is_end] == ids[0]).any():
        kept = ~(is_begin & follows_end)
        kept[0] = True
        ids, documents, is_begin, is_end = ids[kept], documents[kept], is_begin[kept], is_end[kept]
        follows_end = follows_end[kept]
    is_scored = ~is_begin if document_mask else ~is_begin | follows_end
    is_scored[0] = False
    if not score_end:
        is_scored &= ~is_end
    starts = window_starts(len(ids), length)
    stops = np.minimum(starts + length, len(ids))
    return Windows(ids, documents, is_scored, starts, stops, starts + 1, is_begin if document_mask else None)


def _documents(text: HeldText) -> np.ndarray:
    return np.repeat(np.arange(len(text.lengths)), text.lengths)
