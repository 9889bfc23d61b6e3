"""Sentences of evaluation data taken out of training text, and a list of what was taken."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import xxhash

from lmeff.corpora.sources import open_text, plain_name
from lmeff.errors import InputError

LEAST_WORDS = 4
"""Shorter sentences, such as 'He left.', belong to no test."""
_KEPT_EXAMPLES = 100
_SENTENCES = re.compile(r"((?<=[.!?])[\"'\u201d\u2019)]*\s+|\n+)")
_WORDS = re.compile(r"[\w']+")


class Decontamination:
    """Takes sentences of evaluation data out of documents: those that are the same but for case, punctuation and spaces."""

    def __init__(self, files: list[Path]) -> None:
        """`files`: JSON lines, of which every text value counts, or plain text, of which every line does."""
        self._known = {key for path in files for text in _texts(path) if (key := _key(text)) is not None}
        self.num_sentences = 0
        self.examples: list[str] = []
        """The first of those that were taken out."""

    def __call__(self, text: str) -> str:
        if not self._known:
            return text
        pieces = _SENTENCES.split(text)
        kept: list[str] = []
        for sentence, after in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            if _key(sentence) in self._known:
                self.num_sentences += 1
                if len(self.examples) < _KEPT_EXAMPLES:
                    self.examples.append(sentence.strip())
            else:
                kept += [sentence, after]
        return "".join(kept).strip() if len(kept) < len(pieces) else text


def _key(text: str) -> int | None:
    words = _WORDS.findall(text.lower())
    return xxhash.xxh3_64_intdigest(" ".join(words).encode()) if len(words) >= LEAST_WORDS else None


def _texts(path: Path) -> Iterator[str]:
    is_json = plain_name(path).suffix in (".jsonl", ".ndjson", ".json")
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not is_json:
                yield line
            elif line.strip():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(
                        f"corpus.decontaminate: {path}:{number}: not readable as JSON ({error.msg})"
                    ) from None
                for value in record.values() if isinstance(record, dict) else ():
                    if isinstance(value, str):
                        yield from _SENTENCES.split(value)[::2]
