"""Which documents stay: by length, and once only. Counted by domain and reason."""

from collections import Counter
from collections.abc import Iterable

import xxhash

from lmeff.corpora.sources import Document
from lmeff.recipe.schema import Corpus


class Filter:
    """Says of one document after the other whether it stays; of several equal ones the first does."""

    def __init__(self, corpus: Corpus, held_out: Iterable[Document] = ()) -> None:
        """`held_out` are documents that training text must not repeat, when duplicates are left out."""
        self._least, self._most = corpus.min_words or 0, corpus.max_words or float("inf")
        self._seen: set[int] | None = set() if corpus.deduplicate else None
        self._held_out = {_key(document.text) for document in held_out} if corpus.deduplicate else set()
        self.counts: dict[str, Counter[str]] = {}
        """Domain -> reason -> documents left out."""

    def __call__(self, document: Document) -> bool:
        if reason := self._reason(document.text):
            self.counts.setdefault(document.domain, Counter())[reason] += 1
        return reason is None

    def _reason(self, text: str) -> str | None:
        if not self._least <= (num_words := len(text.split())) <= self._most:
            return "too short" if num_words < self._least else "too long"
        if self._seen is None:
            return None
        key = _key(text)
        if key in self._held_out:
            return "held out"
        if key in self._seen:
            return "duplicate"
        self._seen.add(key)
        return None


def _key(text: str) -> int:
    """The same for texts that differ in white space alone (xxh3, 64 bits)."""
    return xxhash.xxh3_64_intdigest(" ".join(text.split()).encode())
