"""Held-out text is decided by content alone."""

import random

from hypothesis import given
from hypothesis import strategies as st

from lmeff.corpora.reading.sources import Document
from lmeff.corpora.split import segments, split


def stories(count: int) -> list[Document]:
    rng = random.Random(1)
    return [Document(f"Story {index}: " + " ".join(rng.choices("abcdefgh", k=30)), "s") for index in range(count)]


@given(st.text(alphabet="ab .!\n", max_size=400), st.integers(1, 40))
def test_segments_joined_are_the_text(text: str, limit: int) -> None:
    pieces = segments(text, limit)
    assert "".join(pieces) == text
    assert all(len(piece) <= 2 * limit for piece in pieces)


def test_order_does_not_move_a_document() -> None:
    documents = stories(2000)
    forward = {document.text: side for side, document in split(documents, 0.1)}
    backward = {document.text: side for side, document in split(documents[::-1], 0.1)}
    assert forward == backward
    share = sum(side == "dev" for side in forward.values()) / len(forward)
    assert 0.07 < share < 0.13


def test_more_text_leaves_the_side_of_the_old_text() -> None:
    documents = stories(1000)
    few = {document.text: side for side, document in split(documents[:500], 0.1)}
    many = {document.text: side for side, document in split(documents, 0.1)}
    assert all(many[text] == side for text, side in few.items())


def test_one_book_is_neither_all_dev_nor_all_train() -> None:
    rng = random.Random(2)
    book = "\n\n".join(" ".join(rng.choices(("sun", "moon", "rain", "snow"), k=80)) + "." for _ in range(2000))
    sides = list(split([Document(book, "book")], 0.1))
    sizes = {side: sum(len(document.text) for found, document in sides if found == side) for side in ("train", "dev")}
    assert 0.03 < sizes["dev"] / sum(sizes.values()) < 0.2
    assert sum(sizes.values()) > 0.999 * len(book) - 4 * len(sides)
