"""What becomes of one batch of records, whoever works on it: pure functions of the text and the rules."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import orjson
import xxhash

from lmeff.corpora import split
from lmeff.corpora.cleaning.decontamination import Decontamination
from lmeff.corpora.cleaning.near_duplicates import NearKeys
from lmeff.corpora.cleaning.overlap import Overlap
from lmeff.corpora.cleaning.quality import language_share, repetition
from lmeff.corpora.cleaning.rules import Cleaning
from lmeff.corpora.reading.records import Batch, Form, texts_of
from lmeff.corpora.reading.sources import Document, kind
from lmeff.progress import shown

_DEFAULT_LANGUAGE_SHARE = 0.65


@dataclass(frozen=True)
class Rules:
    """Everything that decides what becomes of the records of one source."""

    form: Form
    clean: str | dict[str, str] | None = None
    min_words: int | None = None
    max_words: int | None = None
    language: str | None = None
    language_share: float | None = None
    repetition: bool = False
    deduplicate: str | None = None
    dev_share: float | None = None
    """Share that is held out; None when the side is known."""
    side: str = "train"
    whole_characters: tuple[int, int] | None = None
    """Rows, and files, of up to so many characters are on one side as a whole; longer ones are cut. None: the rule of older
    versions, which cut documents above 16,000 characters, each segment on a side of its own."""
    evaluation_files: tuple[Path, ...] = ()
    """Data whose sentences are taken out."""
    evaluation_words: int | None = None


@dataclass
class Piece:
    """A document as it is written."""

    side: str
    line: bytes
    """A JSON object with text, domain and, where it is a piece of a document that was cut, the document; and a line break."""
    num_bytes: int
    """Of the text alone."""
    num_words: int


@dataclass
class Kept:
    """A document that passed what can be said about it alone."""

    pieces: list[Piece]
    num_characters: int
    is_file: bool
    """Whether it is a file of plain text."""
    is_cut: bool = False
    """Whether it was cut for its length, with pieces on both sides perhaps."""
    key: int | None = None
    """The same for texts that differ in white space alone (xxh3, 64 bits)."""
    near_keys: list[int] = field(default_factory=list)
    """Two documents with one in common are nearly the same."""

    @property
    def num_words(self) -> int:
        return sum(piece.num_words for piece in self.pieces)


@dataclass
class Outcome:
    """Of one batch."""

    domain: str
    num_characters: int
    kept: list[Kept] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> documents."""
    cleaning: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rule -> documents and characters."""
    taken_out: list[str] = field(default_factory=list)
    """Sentences of evaluation data."""


class DocumentMaker:
    """Turns batches into documents by one source's rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    @cached_property
    def _evaluation(self) -> Decontamination | Overlap:
        files, num_words = self.rules.evaluation_files, self.rules.evaluation_words
        with nullcontext() if multiprocessing.parent_process() else shown("sentences of evaluation data"):
            return Overlap(files, num_words) if num_words else Decontamination(files)

    @cached_property
    def _near_keys(self) -> NearKeys:
        return NearKeys()

    def __call__(self, batch: Batch, domain: str, stem: str) -> Outcome:
        """`stem`: that of the file, by which it is cleaned."""
        form = self.rules.form
        is_file = kind(batch.path) == "text" and not (form.separator or form.begins or form.join)
        return self.of_texts(texts_of(batch, form), domain, stem, batch.num_characters, is_file)

    def of_texts(
        self, texts: Iterable[str], domain: str, stem: str, num_characters: int, is_file: bool = False
    ) -> Outcome:
        """What becomes of texts, which were so many characters in their file. `is_file`: each is a file of plain text."""
        rules, outcome = self.rules, Outcome(domain, num_characters)
        cleaning = Cleaning(rules.clean)
        for text in texts:
            if rules.clean and not (text := cleaning(text, stem)):
                continue
            if rules.evaluation_files:
                text, sentences = self._evaluation.split(text)
                outcome.taken_out += sentences
                if not text:
                    continue
            if reason := self._reason(text):
                outcome.left_out[reason] += 1
            else:
                outcome.kept.append(self.keep(text, domain, is_file))
        outcome.cleaning = cleaning.counts.get(stem, {})
        return outcome

    def _reason(self, text: str) -> str | None:
        rules = self.rules
        if rules.min_words or rules.max_words:
            count = num_words(text)
            if count < (rules.min_words or 0):
                return "too short"
            if count > (rules.max_words or count):
                return "too long"
        if rules.repetition and (rule := repetition(text)):
            return f"repetition: {rule}"
        if rules.language:
            least = rules.language_share or _DEFAULT_LANGUAGE_SHARE
            if language_share(text, rules.language) < least:
                return f"not in language {rules.language}"
        return None

    def keep(self, text: str, domain: str, is_file: bool = False) -> Kept:
        """A document in the form in which it is written."""
        is_cut, found = self._pieces(text, domain, is_file)
        name = f"{_key(text):016x}" if is_cut else None
        pieces = [Piece(side, _line(piece, domain, name), num_bytes(piece), num_words(piece)) for side, piece in found]
        if not self.rules.deduplicate:
            return Kept(pieces, len(text), is_file, is_cut)
        near = self._near_keys(text).tolist() if self.rules.deduplicate == "near" else []
        return Kept(pieces, len(text), is_file, is_cut, _key(text), near)

    def _pieces(self, text: str, domain: str, is_file: bool) -> tuple[bool, Iterable[tuple[str, str]]]:
        """Whether the document is cut, and its pieces: (side, text)."""
        rules = self.rules
        if rules.whole_characters is None:
            return False, self._pieces_of_older_versions(text, domain)
        if rules.dev_share is None:
            return False, [(rules.side, text)]
        if len(text) <= rules.whole_characters[is_file]:
            return False, [(split.side(text, rules.dev_share), text)]
        found = split.split([Document(text, domain)], rules.dev_share)
        return True, [(side, piece.text) for side, piece in found]

    def _pieces_of_older_versions(self, text: str, domain: str) -> Iterator[tuple[str, str]]:
        rules = self.rules
        if split.is_one_segment(text):
            yield rules.side if rules.dev_share is None else split.side(text, rules.dev_share), text
            return
        if rules.dev_share is None:
            sides = [(rules.side, text)]
        else:
            split_up = split.split([Document(text, domain)], rules.dev_share)
            sides = [(side, document.text) for side, document in split_up]
        for side, whole in sides:
            for piece in split.segments(whole) if side == "dev" else [whole]:
                if piece := piece.strip():
                    yield side, piece


_IS_SPACE = np.array([chr(code).isspace() for code in range(128)] + [False] * 128)
_SPACES = bytes(np.flatnonzero(_IS_SPACE).tolist())
_LONG_CHARACTERS = 1_000


def num_bytes(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def num_words(text: str) -> int:
    """Words of a text, parted by white space; the same as `len(text.split())`, sooner."""
    if len(text) < _LONG_CHARACTERS or not text.isascii():
        return len(text.split())
    is_space = _IS_SPACE[np.frombuffer(text.encode(), np.uint8)]
    return int(np.count_nonzero(is_space[:-1] & ~is_space[1:])) + (not is_space[0])


def _key(text: str) -> int:
    """The same for texts that differ in white space alone."""
    letters = text.encode().translate(None, _SPACES) if text.isascii() else "".join(text.split()).encode()
    return xxhash.xxh3_64_intdigest(letters)


def _line(text: str, domain: str, document: str | None = None) -> bytes:
    record = {"text": text, "domain": domain} | ({"document": document} if document else {})
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
