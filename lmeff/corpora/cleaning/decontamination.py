"""Sentences of evaluation data taken out of training text."""

import re
from collections.abc import Sequence
from pathlib import Path

import xxhash

from lmeff.corpora.cleaning.overlap import LEAST_WORDS, SENTENCES, evaluation_texts

_WORDS = re.compile(r"[\w']+")


class Decontamination:
    """Takes sentences of evaluation data out of documents: those that are the same but for case, punctuation and spaces."""

    def __init__(self, files: Sequence[Path]) -> None:
        """`files`: JSON lines, of which every text value counts, or plain text, of which every line does."""
        self._known = {
            key
            for path in files
            for text in evaluation_texts(path)
            for sentence in SENTENCES.split(text)[::2]
            if (key := _key(sentence)) is not None
        }

    def split(self, text: str) -> tuple[str, list[str]]:
        """What is left of a text and the sentences that were taken out of it."""
        pieces = SENTENCES.split(text)
        kept: list[str] = []
        taken: list[str] = []
        for sentence, after in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            if _key(sentence) in self._known:
                taken.append(sentence.strip())
            else:
                kept += [sentence, after]
        return ("".join(kept).strip(), taken) if taken else (text, [])


def _key(text: str) -> int | None:
    words = _WORDS.findall(text.lower())
    return xxhash.xxh3_64_intdigest(" ".join(words).encode()) if len(words) >= LEAST_WORDS else None
