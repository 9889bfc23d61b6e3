"""Masked copies of texts: one for each scored token, and of equal ones a single copy.

The two sentences of a minimal pair differ in a few tokens. Where those are masked, their copies are equal, and a copy gives the
log-probabilities of all tokens that stand at its place in one text or another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import BatchEncoding

from lmeff.errors import InputError
from lmeff.evaluation.scorer.token_requests import TokenRequest


@dataclass(frozen=True)
class MaskedRows:
    """What a model reads, and what is read from its predictions."""

    rows: list[np.ndarray]
    """The token ids of each copy, of whatever length."""
    places: np.ndarray
    """(rows,): the masked place whose token is predicted."""
    edge_rows: np.ndarray
    """(edges,): by scored token, in the order of the requests, the number of its row."""
    edge_tokens: np.ndarray
    """(edges,): the token itself."""
    starts: np.ndarray
    """(requests,): the number of each request's first edge."""


def mask_tokens(
    requests: Sequence[TokenRequest],
    words: Sequence[Sequence[int]] | None,
    mask: int,
    end: int | None,
    longest: int,
) -> MaskedRows:
    """The masked copies of texts.

    Args:
        words: for each request the word of each scored token: its later tokens are masked as well. None: one token at a time.
        end: what stands after a text.
        longest: tokens of a context and what is scored after it, together. Of a longer context the beginning is cut, up to its
            first token, which begins every text.
    """
    numbers: dict[tuple[int, bytes], int] = {}
    rows: list[np.ndarray] = []
    places: list[int] = []
    edge_rows: list[int] = []
    edge_tokens: list[int] = []
    starts: list[int] = []
    for number, (_, context, scored) in enumerate(requests):
        kept = longest - len(scored)
        context = context if len(context) <= kept else context[:1] + context[len(context) - kept + 1 :]
        ids = np.array([*context, *scored, *([] if end is None else [end])], dtype=np.int64)
        first, stop = len(context), len(context) + len(scored)
        starts.append(len(edge_rows))
        for place in range(first, stop):
            row = ids.copy()
            row[place] = mask
            if words is not None:
                own = np.asarray(words[number])
                row[place:stop][own[place - first :] == own[place - first]] = mask
            key = place, row.tobytes()
            if key not in numbers:
                numbers[key] = len(rows)
                rows.append(row)
                places.append(place)
            edge_rows.append(numbers[key])
            edge_tokens.append(int(ids[place]))
    return MaskedRows(rows, *(np.array(each, dtype=np.int64) for each in (places, edge_rows, edge_tokens, starts)))


def check_words(texts: Sequence[str], encoded: BatchEncoding) -> None:
    """Raises InputError where a tokenizer takes several words for one, as those do whose tokens reach across words, and those
    that divide texts at punctuation alone."""
    for number, text in enumerate(texts):
        own = encoded.word_ids(number)
        # Each word between spaces is one at least, so only where there are fewer must they be looked at.
        if len({*own} - {None}) + own.count(None) >= len(text.split()):
            continue
        for word in dict.fromkeys(one for one in own if one is not None):
            span = encoded.word_to_chars(number, word)
            if len((said := text[span.start : span.end]).split()) > 1:
                raise InputError(
                    f"its tokenizer takes {said!r} for one word, so it does not tell which tokens belong to a word; use scoring"
                    " pseudo_log_likelihood_original"
                )
