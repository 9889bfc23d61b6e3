"""Which text is held out. Decided by the text itself, so that no order, file name or seed can move it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import xxhash

from lmeff.corpora.sources import Document

_SEGMENT_CHARACTERS = 8_000
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


def is_one_segment(text: str) -> bool:
    """Whether a text is too short to be cut."""
    return len(text) <= 2 * _SEGMENT_CHARACTERS


def side(text: str, dev_share: float) -> str:
    """`dev` or `train`, for a text that is one segment."""
    return "dev" if _position(text) < dev_share else "train"


def smallest_share(documents: Iterable[Document]) -> float | None:
    """The smallest `dev_share` that holds anything out; None when the text is a single segment."""
    positions = {_position(piece) for document in documents for piece in segments(document.text)}
    return min(positions) * (1 + 1e-12) if len(positions) > 1 else None


def split(documents: Iterable[Document], dev_share: float) -> Iterator[tuple[str, Document]]:
    """Yields ("train" | "dev", document). Neighbouring segments of one document that go the same way stay together."""
    for document in documents:
        sides: list[tuple[str, str]] = []
        for piece in segments(document.text):
            side = "dev" if _position(piece) < dev_share else "train"
            if sides and sides[-1][0] == side:
                sides[-1] = (side, sides[-1][1] + piece)
            else:
                sides.append((side, piece))
        for side, text in sides:
            if text := text.strip():
                yield side, replace(document, text=text)
