"""Words and their n-grams as numbers, the same in every process and on every platform."""

import re
from functools import lru_cache

import numpy as np
import xxhash

_OTHER_MARKS = re.compile(r"[^\w\x00-\x7f]+")
_ASCII_MARKS = bytes(code if code > 127 or re.match(r"\w", chr(code)) else ord(" ") for code in range(256))
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation: `Don't stop!` gives `dont`, `stop`."""
    text = text.lower().replace("'", "").replace("\u2019", "")
    if not text.isascii():
        text = _OTHER_MARKS.sub(" ", text)
    # The same as re.findall(r"\w+", text), and of ASCII text more than twice as fast.
    return text.encode().translate(_ASCII_MARKS).decode().split()


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    # A word may hold half of a character, a lone surrogate, which strict UTF-8 has no bytes for.
    return xxhash.xxh3_64_intdigest(word.encode(errors="surrogatepass"))


def word_hashes(words: list[str]) -> np.ndarray:
    """xxh3 of every word: uint64 (words,)."""
    return np.fromiter(map(_word_hash, words), np.uint64, len(words))


def ngram_hashes(hashes: np.ndarray, num_words: int) -> np.ndarray:
    """One number for every n-gram of `num_words` words, out of the words' own: uint64 (words - num_words + 1,)."""
    count = max(len(hashes) - num_words + 1, 0)
    return _mix([hashes[offset : offset + count] for offset in range(num_words)])


def ngrams_at(hashes: np.ndarray, places: np.ndarray, num_words: int) -> np.ndarray:
    """`ngram_hashes(hashes, num_words)[places]`, without working out the others: uint64 (places,)."""
    return _mix([hashes[places + offset] for offset in range(num_words)])


def _mix(columns: list[np.ndarray]) -> np.ndarray:
    """Numbers out of `columns`, one for each word's place; their upper bits are the best mixed."""
    mixed = np.zeros_like(columns[0])
    for column in columns:
        # What follows the sum is a bijection, so order matters and different n-grams meet by chance alone, 1 in 2^64.
        mixed += column
        mixed ^= mixed >> _SHIFT
        mixed *= _MIX
    return mixed
