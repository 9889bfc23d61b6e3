"""Some of the training documents as a text of their own, one after the other in any order, without a copy on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lmeff.tokens.prepare import Tokens
from lmeff.tokens.shards import TokenStream


@dataclass(frozen=True, eq=False)
class Excerpt(Tokens):
    """Documents of a training text. Held-out text and tokenizer are those of the whole."""

    documents: np.ndarray = field(kw_only=True)
    """(documents,) int64: which ones, in the order in which they are read."""
    first_id: int = field(kw_only=True)
    """The id of its first sequence. The sequences of the whole text have those from 0, and no two excerpts of a run share
    any."""
    packed: dict[int, Any] = field(kw_only=True, default_factory=dict)
    """Packings by the length of their sequences; made when they are first read."""

    @classmethod
    def of(cls, tokens: Tokens, documents: np.ndarray, first_id: int) -> Excerpt:
        parts = tokens.folder, tokens.tokenizer_folder, tokens.manifest
        excerpt = cls(*parts, documents=documents, first_id=first_id)
        # What was opened and checked once is not opened again.
        lengths = np.asarray(tokens.train_documents[:, 0])
        excerpt.__dict__["train"] = ExcerptStream(tokens.train, lengths, documents)
        excerpt.__dict__["train_documents"] = np.asarray(tokens.train_documents)[documents]
        return excerpt


class ExcerptStream(TokenStream):
    """The ids of documents, as one long sequence."""

    def __init__(self, whole: TokenStream, lengths: np.ndarray, documents: np.ndarray) -> None:
        """`lengths`, (documents of the whole,) int64, are the tokens of each."""
        self._whole = whole
        self._starts = (lengths.cumsum() - lengths)[documents]
        self._ends = lengths[documents].cumsum()
        self._lengths = lengths[documents]
        self.num_tokens = int(self._ends[-1]) if len(documents) else 0

    def slice(self, start: int, stop: int) -> np.ndarray:
        return self.pieces(np.array([start]), np.array([max(0, min(stop, self.num_tokens) - start)]))

    def blocks(self, block_ids: np.ndarray, length: int) -> np.ndarray:
        starts = np.asarray(block_ids, np.int64) * length
        return self.pieces(starts, np.full(len(starts), length)).reshape(-1, length)

    def pieces(self, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Tokens [start, start + size) of every piece, one after the other, as int64; a piece may reach over documents."""
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
        documents, repeats = self._documents_of(starts, sizes)
        begins = (self._ends - self._lengths)[documents]
        first = np.maximum(starts[repeats], begins)
        last = np.minimum((starts + sizes)[repeats], self._ends[documents])
        return self._whole.pieces(self._starts[documents] + first - begins, last - first)

    def _documents_of(self, starts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every part of a piece that lies in one document: the document and the piece."""
        first = np.searchsorted(self._ends, starts, "right")
        counts = np.searchsorted(self._ends, starts + sizes - 1, "right") - first + 1
        repeats = np.repeat(np.arange(len(starts)), counts)
        places = np.arange(int(counts.sum())) - np.repeat(counts.cumsum() - counts, counts)
        return first[repeats] + places, repeats
