"""Where words begin in token ids, told from the tokenizer's file."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from lmeff.files import read_json
from lmeff.tokens.tokenizer.bpe import SPECIAL_TOKENS

_SPACE = "Ġ"
"""What byte-level BPE writes for a space (Radford et al. 2019)."""
_LINE_ENDS = tuple("ĊčĉĠ")
"""Line feed, carriage return, tab, space."""


@dataclass(frozen=True)
class WordStarts:
    """A word is a token that begins with a space, and all that follow it up to the next one. A special token and white space
    other than the one before a word end it; what follows begins another."""

    is_first: np.ndarray
    """(entries,) bool: tokens that begin a word wherever they stand."""
    ends_word: np.ndarray
    """(entries,) bool: tokens after which another word begins."""

    def begins(self, input_ids: np.ndarray) -> np.ndarray:
        """(rows, length) bool: where a word begins; the first of a row does."""
        begins: np.ndarray = self.is_first[input_ids]
        begins[:, 1:] |= self.ends_word[input_ids[:, :-1]]
        begins[:, 0] = True
        return begins


@cache
def word_starts(tokenizer_folder: Path) -> WordStarts:
    """Of the tokens of a prepared tokenizer."""
    vocabulary: dict[str, int] = read_json(tokenizer_folder / "tokenizer.json")["model"]["vocab"]
    is_first, ends_word = np.zeros((2, max(vocabulary.values()) + 1), bool)
    for token, number in vocabulary.items():
        is_special = token in SPECIAL_TOKENS
        is_first[number] = is_special or token.startswith(_LINE_ENDS)
        ends_word[number] = is_special or (token != _SPACE and token.endswith(_LINE_ENDS))
    return WordStarts(is_first, ends_word)
