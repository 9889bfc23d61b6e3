"""Texts to token ids, by the fastest way that gives exactly the tokenizer's own."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, normalizers

from lmeff.logs import note

_CHECK_CHARACTERS = 8_000
_NFKC = normalizers.NFKC()
_MAY_CHANGE = re.compile(
    "[^"
    + "".join(
        re.escape(char)
        for char in map(chr, [*range(0x250), *range(0x2010, 0x2060)])
        if _NFKC.normalize_str(char) == char
    )
    + "]"
)
"""Finds a character that NFKC may change; those that it leaves alone by themselves and never joins are not looked at."""


class Encoder:
    """Encodes documents without special tokens; text that reads like one, such as `</s>`, is text.

    gigatoken does it where it is installed and knows the kind of tokenizer. Of what it encodes a part is also encoded by
    `tokenizers`; after the first difference gigatoken is not used again.
    """

    def __init__(self, tokenizer_file: Path, may_be_fast: bool = True, uses_all_cores: bool = False) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        # Characters that spell a special token must not end the document.
        self._tokenizer.encode_special_tokens = True
        self.vocab_size = self._tokenizer.get_vocab_size()
        self._normalizer: Any = None
        self._fast: Any = None
        if may_be_fast:
            self._normalizer, self._fast = _gigatoken(tokenizer_file)
        self._uses_all_cores = uses_all_cores

    @property
    def backend(self) -> str:
        """`gigatoken` or `tokenizers`."""
        return "tokenizers" if self._fast is None else "gigatoken"

    def __call__(self, texts: Sequence[str], num_checked: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids of all documents one after the other, their numbers): uint32 (tokens,), int64 (documents,). The first
        `num_checked` documents are encoded both ways."""
        if self._fast is not None:
            ids, counts = self._encode_fast(texts)
            if self._is_exact(texts[:num_checked], ids, counts[:num_checked]):
                return ids, counts
            note("gigatoken encodes this text otherwise than its tokenizer; going on with tokenizers")
            self._fast = None
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        counts = np.fromiter((len(encoding.ids) for encoding in encodings), np.int64, len(texts))
        ids = np.concatenate([np.zeros(0, np.uint32), *(np.array(encoding.ids, np.uint32) for encoding in encodings)])
        return ids, counts

    def _encode_fast(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if self._normalizer is not None:
            texts = [
                text if text.isascii() or not _MAY_CHANGE.search(text) else self._normalizer.normalize_str(text)
                for text in texts
            ]
        rows = self._fast.encode_batch(list(texts), parallel=self._uses_all_cores).layout
        offsets = np.asarray(rows.offsets, np.int64)
        return np.asarray(rows.content.data)[offsets[0] : offsets[-1]], np.diff(offsets)

    def _is_exact(self, texts: Sequence[str], ids: np.ndarray, counts: np.ndarray) -> bool:
        """Whether `tokenizers` gives these texts the same ids; of a book the beginning will do."""
        ends = np.cumsum(counts)
        short = [place for place, text in enumerate(texts) if len(text) <= _CHECK_CHARACTERS]
        beginnings = [text[:_CHECK_CHARACTERS] for text in texts if len(text) > _CHECK_CHARACTERS]
        more, more_counts = self._encode_fast(beginnings)
        wanted, wanted_counts = self._encode([*(texts[place] for place in short), *beginnings])
        found = np.concatenate([*(ids[ends[place] - counts[place] : ends[place]] for place in short), more])
        return np.array_equal(np.concatenate([counts[short], more_counts]), wanted_counts) and np.array_equal(
            found, wanted
        )


def _gigatoken(tokenizer_file: Path) -> tuple[normalizers.NFKC | None, Any]:
    """What brings text to the form that it expects, and gigatoken's own form of the tokenizer; (None, None) for one that it
    does not know, or where it is not installed."""
    settings = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    if settings.get("normalizer") not in (None, {"type": "NFKC"}):
        return None, None
    normalizer = _NFKC if settings["normalizer"] else None
    settings |= {"normalizer": None, "added_tokens": [], "post_processor": None}
    try:
        from gigatoken import Tokenizer as FastTokenizer

        return normalizer, FastTokenizer.from_json(json.dumps(settings))
    except Exception:  # the result is the same, only later
        return None, None
