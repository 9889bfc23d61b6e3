"""Which text is held out. Decided by the text itself, so that no order, file name or seed can move it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import xxhash

from lmeff.corpora.reading.sources import Document

_SEGMENT_CHARACTERS = 8_000
_LARGEST_ROW, _LARGEST_FILE = 0.5, 0.1
"""Shares of all the text."""
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?])\s"), re.compile(r"\s"))


def segments(text: str, limit: int = _SEGMENT_CHARACTERS) -> list[str]:
    """Cuts a long text after about `limit` characters, at a paragraph, else a line, a sentence or a word.

    Joined together the segments are the text again.
    """
    pieces = []
    start = 0
    while len(text) - start > 2 * limit:
        for pattern in _BREAKS:
            if match := pattern.search(text, start + limit, start + 2 * limit):
                cut = match.end()
                break
        else:
            cut = start + limit
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


def _position(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return xxhash.xxh3_64_intdigest(text.strip().encode()) / 2**64


def longest_whole(num_characters: int, dev_share: float, is_file: bool) -> int:
    """Characters of the longest document that stays whole in a text of so many characters.

    A row, or what a separator ends, is cut only when it is more than half of the text, or the only one. A file of plain text is
    one document since nothing says where its documents end: it is cut when it is more than a tenth, or than the held-out share.
    """
    share = max(dev_share, _LARGEST_FILE) if is_file else _LARGEST_ROW
    return max(2 * _SEGMENT_CHARACTERS, int(share * num_characters))


def is_one_segment(text: str) -> bool:
    """Whether a text is too short to be cut."""
    return len(text) <= 2 * _SEGMENT_CHARACTERS


def side(text: str, dev_share: float) -> str:
    """`dev` or `train`, for a text that stays whole."""
    return "dev" if _position(text) < dev_share else "train"


def smallest_share(pieces: Iterable[str]) -> float | None:
    """The smallest `dev_share` that holds one of the pieces out; None when there is nothing but one piece of text."""
    positions = {_position(piece) for piece in pieces}
    return min(positions) * (1 + 1e-12) if len(positions) > 1 else None


def split(documents: Iterable[Document], dev_share: float) -> Iterator[tuple[str, Document]]:
    """Yields ("train" | "dev", document) of documents that are cut in segments, each of which is on a side of its own.
    Neighboring segments of one document that go the same way stay together."""
    for document in documents:
        sides: list[tuple[str, str]] = []
        for piece in segments(document.text):
            where = side(piece, dev_share)
            if sides and sides[-1][0] == where:
                sides[-1] = (where, sides[-1][1] + piece)
            else:
                sides.append((where, piece))
        for where, text in sides:
            if text := text.strip():
                yield where, replace(document, text=text)
