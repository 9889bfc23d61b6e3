"""The text that a tokenizer is trained on: all of the training text, or a bounded sample of it."""

from collections.abc import Iterator

import xxhash

from lmeff.corpora import TextCorpus
from lmeff.corpora.documents import num_bytes
from lmeff.corpora.split import segments
from lmeff.progress import progress

_SEED = 1
"""Not the seed of the split into train and dev, which left no training text at the lowest positions."""


class TrainingText:
    """The texts of `train`, one after the other and never all in memory; going through them counts them.

    With `sample_bytes` below the size of the text, about so many bytes of it: each document, in segments where it is as long as
    a book, is taken or left by a hash of its content alone. So neither the order of the text nor who reads it changes the
    sample, and a text that is there twice is taken twice or not at all.
    """

    def __init__(self, corpus: TextCorpus, sample_bytes: int | None = None) -> None:
        self._corpus = corpus
        self._all_bytes = all_bytes = corpus.manifest["splits"]["train"]["num_bytes"]
        self.sample_bytes = sample_bytes if sample_bytes is not None and sample_bytes < all_bytes else None
        """Bytes that were wanted; None for all of the text."""
        self._share = self.sample_bytes / all_bytes if self.sample_bytes else 1.0
        self.num_documents = 0
        """Documents of which anything was taken."""
        self.num_bytes = 0

    def __iter__(self) -> Iterator[str]:
        self.num_documents = self.num_bytes = 0
        with progress("text for the tokenizer", self._all_bytes) as bar:
            for text in self._corpus.documents("train"):
                bar.update(num_bytes(text))
                pieces = [text] if self.sample_bytes is None else list(filter(self._is_taken, segments(text)))
                self.num_documents += bool(pieces)
                for piece in pieces:
                    self.num_bytes += num_bytes(piece)
                    yield piece

    def _is_taken(self, text: str) -> bool:
        return xxhash.xxh3_64_intdigest(text.strip().encode(), seed=_SEED) / 2**64 < self._share
