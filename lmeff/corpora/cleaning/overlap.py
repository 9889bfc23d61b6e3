"""Sentences that share word n-grams with evaluation data, taken out of training text (Brown et al. 2020, appendix C)."""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow
from pyarrow import parquet

from lmeff.corpora.cleaning.words import ngram_hashes, ngrams_at, word_hashes, words
from lmeff.corpora.reading.records import json_lines
from lmeff.corpora.reading.sources import JSON_SUFFIXES, TABLE_SUFFIX, not_utf8_text, open_text, plain_name
from lmeff.errors import InputError
from lmeff.files import parse_json

NGRAM_WORDS = 8
LEAST_WORDS = 4
"""Shorter sentences, such as 'He left.', belong to no test."""
SENTENCES = re.compile(r"((?<=[.!?])[\"'\u201d\u2019)]*\s+|\n+)")
_LEAST_TABLE_BITS = 16


class Overlap:
    """Takes sentences that hold an n-gram of evaluation texts out of documents, whatever their case and punctuation.

    An evaluation sentence of fewer words than an n-gram, but at least 4, counts where a whole sentence is the same.
    An n-gram that runs over the end of a sentence takes out all the sentences it touches.
    """

    def __init__(self, files: Sequence[Path], num_words: int = NGRAM_WORDS) -> None:
        """`files`: JSON lines, of which every text value counts, or plain text, of which every line does.

        Raises InputError for a file that cannot be read, and when no file has anything to look for.
        """
        if num_words < LEAST_WORDS:
            raise InputError(f"corpus.decontaminate: n-grams need {LEAST_WORDS} words or more, not {num_words}")
        self._num_words = num_words
        found = [_keys(evaluation_texts(path), num_words) for path in files]
        self._known = _unique(keys for keys, _ in found)
        if files and not len(self._known):
            raise InputError(f"corpus.decontaminate: no sentence of {LEAST_WORDS} words or more in {_names(files)}")
        # What to look for begins with so many words at least. A table of which upper bits their numbers may have, one
        # in 16 or fewer of them set, is all that nearly every place of other text is held against.
        self._beginnings = _unique(keys for _, keys in found)
        bits = max(_LEAST_TABLE_BITS, (16 * len(self._beginnings)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self._beginnings >> self._shift] = True

    def split(self, text: str) -> tuple[str, list[str]]:
        """What is left of a text and the sentences that were taken out of it. Changes nothing here."""
        if not len(self._known) or not (hits := self._hits(word_hashes(words(text)))):
            return text, []
        pieces = SENTENCES.split(text)
        if not (taken := self._sentences(pieces[::2], hits)):
            return text, []
        return _join(pieces, taken), [pieces[2 * index].strip() for index in sorted(taken)]

    def _hits(self, hashes: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Sizes of n-grams that evaluation data has, and their places among a text's words."""
        beginnings = ngram_hashes(hashes, LEAST_WORDS)
        places = np.flatnonzero(self._table[beginnings >> self._shift])
        places = places[_among(beginnings[places], self._beginnings)]
        hits = []
        for size in range(LEAST_WORDS, self._num_words + 1) if len(places) else ():
            places = places[: np.searchsorted(places, len(hashes) - size, side="right")]
            if len(found := places[_among(ngrams_at(hashes, places, size), self._known)]):
                hits.append((size, found))
        return hits

    def _sentences(self, sentences: list[str], hits: list[tuple[int, np.ndarray]]) -> set[int]:
        """The sentences to take out: those which a full n-gram touches, and those which a shorter one is all of."""
        lengths = np.array([len(words(sentence)) for sentence in sentences])
        ends = np.cumsum(lengths)
        taken: set[int] = set()
        for size, places in hits:
            firsts, lasts = (np.searchsorted(ends, place, side="right") for place in (places, places + size - 1))
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
                if size == self._num_words or (first == last and lengths[first] == size):
                    taken.update(range(first, last + 1))
        return taken


def _join(pieces: list[str], taken: set[int]) -> str:
    """The sentences that stay, as they were. Where the last one of a line goes, the line still ends."""
    kept: list[str] = []
    for index, (sentence, after) in enumerate(zip(pieces[::2], [*pieces[1::2], ""], strict=True)):
        if index not in taken:
            kept += [sentence, after]
        elif kept and after.count("\n") > kept[-1].count("\n"):
            kept[-1] = kept[-1].rstrip() + after.lstrip("\"'\u201d\u2019)")
    return "".join(kept).strip()


def _keys(texts: Iterable[str], num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """What to look for, n-grams of texts and their sentences that are shorter, and the first LEAST_WORDS words of each."""
    sentences = [[words(sentence) for sentence in SENTENCES.split(text)[::2]] for text in texts]
    hashes = word_hashes([word for text in sentences for sentence in text for word in sentence])
    owners = np.repeat(np.arange(len(sentences)), [sum(map(len, text)) for text in sentences])
    lengths = np.array([len(sentence) for text in sentences for sentence in text], np.int64)
    starts = np.cumsum(lengths) - lengths
    within = owners[num_words - 1 :] == owners[: max(len(owners) - num_words + 1, 0)]
    places = {num_words: np.flatnonzero(within)}
    places |= {size: starts[lengths == size] for size in range(LEAST_WORDS, num_words)}
    keys = _unique(ngrams_at(hashes, at, size) for size, at in places.items())
    return keys, _unique(ngrams_at(hashes, at, LEAST_WORDS) for at in places.values())


def _among(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of the numbers are known: bool, as many as numbers. `known`: sorted, at least one."""
    return known[np.searchsorted(known, numbers).clip(max=len(known) - 1)] == numbers


def _unique(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))


def _names(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def evaluation_texts(path: Path) -> Iterator[str]:
    """Every text in a file of JSON lines or a table, at any depth; every line of plain text.

    Raises InputError for a file that cannot be read.
    """
    if path.suffix == TABLE_SUFFIX:
        yield from _table_texts(path)
        return
    try:
        with open_text(path) as file:
            if plain_name(path).suffix in JSON_SUFFIXES:
                yield from _json_texts(file, path)
            else:
                yield from file
    except InputError as error:
        raise InputError(f"corpus.decontaminate: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"corpus.decontaminate: {not_utf8_text(path)}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"corpus.decontaminate: {path}: cannot be read ({' '.join(str(error).split())})") from None


def _table_texts(path: Path) -> Iterator[str]:
    try:
        for batch in parquet.ParquetFile(path).iter_batches(1_000):
            yield from _strings(batch.to_pylist())
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"corpus.decontaminate: {path}: cannot be read as Parquet ({' '.join(str(error).split())})"
        ) from None


def _json_texts(file: IO[str], path: Path) -> Iterator[str]:
    for number, record in enumerate(json_lines(file, path), start=1):
        if not isinstance(record, str):
            yield from _strings(record)
        elif record.strip():
            yield from _strings(parse_json(record, f"{path}:{number}"))


def _strings(value: object) -> Iterator[str]:
    """The texts in a JSON value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
