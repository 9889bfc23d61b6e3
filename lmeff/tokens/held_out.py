"""A bounded sample of held-out text, the same for training's held-out loss and for perplexity.

All of it is whole documents. Of more text than is wanted, stretches from all over it are taken: a document that is much longer
than others is many pieces for that, or a sample would be one book.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lmeff.corpora import TextCorpus
from lmeff.corpora.documents import num_bytes, num_words
from lmeff.tokens.permutations import permutation

_PIECE_TOKENS = 4096
_LONGEST_WORD = 256
"""Tokens within which a piece should find a word's beginning to end at."""
PIECES = "dev.pieces.npy"


@dataclass(frozen=True)
class Stretches:
    """Stretches of a stream of documents, ascending; each is within one document."""

    documents: np.ndarray
    """(stretches,) int64: which document."""
    starts: np.ndarray
    """(stretches,) int64: its first token in the stream."""
    lengths: np.ndarray
    """(stretches,) int64, in tokens, with the document's `<s>` and `</s>` where it has them."""
    num_bytes: np.ndarray
    """(stretches,) int64: of the text before normalization."""
    num_words: np.ndarray | None
    """(stretches,) int64; None when all are whole documents."""
    has_begin: np.ndarray
    """(stretches,) bool: begins with its document's `<s>`."""
    has_end: np.ndarray
    """(stretches,) bool: ends with its document's `</s>`."""

    @property
    def follows_end(self) -> np.ndarray:
        """(stretches,) bool: where a document begins right after one has ended, so that `<s>` can be predicted."""
        follows: np.ndarray = self.has_begin & np.concatenate([[True], self.has_end[:-1]])
        return follows


def chosen_first(lengths: np.ndarray, limit_tokens: int | None) -> np.ndarray:
    """Indices from all over `lengths`, always the same ones, while they fit; one at least. Ascending."""
    if limit_tokens is None:
        return np.arange(len(lengths))
    order = permutation(len(lengths), seed=0, epoch=0)
    return np.sort(order[: max(1, int(np.searchsorted(lengths[order].cumsum(), limit_tokens, "right")))])


def whole_documents(table: np.ndarray, chosen: np.ndarray) -> Stretches:
    """Documents of a table (documents, 2) of tokens and bytes."""
    lengths = np.asarray(table[chosen, 0], np.int64)
    starts = np.asarray(table[:, 0]).cumsum()[chosen] - lengths
    whole = np.ones(len(chosen), bool)
    return Stretches(chosen, starts, lengths, np.asarray(table[chosen, 1], np.int64), None, whole, whole)


def held_out_sample(table: np.ndarray, pieces: np.ndarray | None, limit_tokens: int | None) -> Stretches:
    """Held-out text of about so many tokens at most, whole documents where that is all of it.

    Args:
        table: (documents, 2): tokens and bytes.
        pieces: (pieces, 4) as `write_pieces` wrote them: document, tokens, bytes, words; None when no document is long.
    """
    if pieces is None or limit_tokens is None or table[:, 0].sum() <= limit_tokens:
        return whole_documents(table, chosen_first(table[:, 0], limit_tokens))
    chosen = chosen_first(pieces[:, 1], limit_tokens)
    documents, ends = pieces[chosen, 0], pieces[:, 1].cumsum()[chosen]
    is_new = np.ones(len(chosen), bool)
    is_new[1:] = (np.diff(chosen) > 1) | (np.diff(documents) != 0)
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(chosen)) - 1
    starts = ends[first] - pieces[chosen[first], 1]
    tokens, sizes, words = np.add.reduceat(pieces[chosen, 1:], first).T
    stops = table[:, 0].cumsum()[documents[first]]
    has_begin, has_end = starts == stops - table[documents[first], 0], ends[last] == stops
    return Stretches(documents[first], starts, tokens, sizes, words, has_begin, has_end)


def write_pieces(folder: Path, corpus: TextCorpus, tokenizer_file: Path, table: np.ndarray) -> None:
    """Writes where long held-out documents may be cut for a sample, unless none is long."""
    if not len(table) or not is_long(table[:, 0].max()):
        return
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.encode_special_tokens = True
    rows: list[tuple[int, int, int, int]] = []
    for index, (text, (num_tokens, size)) in enumerate(zip(corpus.documents("dev"), table.tolist(), strict=True)):
        if not is_long(num_tokens):
            rows.append((index, num_tokens, size, num_words(text)))
            continue
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        rows += pieces_of(index, text, num_tokens, offsets if len(offsets) + 2 == num_tokens else [])
    np.save(folder / PIECES, np.array(rows, np.int64), allow_pickle=False)


def is_long(num_tokens: int) -> bool:
    """Whether a sample may take a document of so many tokens in part."""
    return num_tokens > 2 * _PIECE_TOKENS


def pieces_of(
    index: int, text: str, num_tokens: int, offsets: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int, int, int]]:
    """(document, tokens, bytes, words) of the pieces of a document, with what begins and ends it in the first and the last.

    `offsets`: characters of every token but these; none: the document is one piece.
    """
    cuts = list(_cuts(offsets, text))
    tokens = [0, *(token for token, _ in cuts), num_tokens]
    places = [0, *(place for _, place in cuts), len(text)]
    for (first, last), (start, stop) in zip(pairwise(tokens), pairwise(places), strict=True):
        yield index, last - first, num_bytes(text[start:stop]), num_words(text[start:stop])


def _cuts(offsets: Sequence[tuple[int, int]], text: str) -> Iterator[tuple[int, int]]:
    """(token, character) of each place between two pieces: about every so many tokens, where a word begins."""
    count, before = round(len(offsets) / _PIECE_TOKENS), 0
    for part in range(1, count):
        target = part * len(offsets) // count
        words = (
            token
            for token in range(target, min(target + _LONGEST_WORD, len(offsets)))
            if before < offsets[token][0] and _begins_word(text, offsets, token)
        )
        if (token := next(words, None)) is not None:
            before = offsets[token][0]
            yield token + 1, before  # one more in the stream, which begins with `<s>`


def _begins_word(text: str, offsets: Sequence[tuple[int, int]], token: int) -> bool:
    """Also with the space before it, as in many tokenizers. Tokens that share a character are not parted."""
    start, stop = offsets[token]
    if start < offsets[token - 1][1] or not text[start:stop].strip():
        return False
    return text[start].isspace() or text[start - 1].isspace()
