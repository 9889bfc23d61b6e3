"""Where words lie in a text, and which of them a tokenizer leaves whole."""

import re

import numpy as np

_WORD = re.compile(r"\S+")


def word_spans(text: str) -> np.ndarray:
    """First character and end of every word, int64 (words, 2). Words are what white space divides."""
    return np.array([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2)


def count_whole(words: np.ndarray, tokens: np.ndarray, is_unknown: np.ndarray) -> int:
    """Words that are one token, and not an unknown one.

    `words` (words, 2) and `tokens` (tokens, 2) hold first character and end in one text, `is_unknown` (tokens,) is bool. What
    a token takes from around a word, such as the space before it, does not matter; one that reaches into two counts for both.
    """
    num_tokens, num_known = _tokens_in(words, tokens), _tokens_in(words, tokens[~is_unknown])
    return int(((num_tokens == 1) & (num_known == 1)).sum())


def _tokens_in(words: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """For every word the tokens that have a character of it, int64 (words,)."""
    tokens = tokens[tokens[:, 1] > tokens[:, 0]]
    begun = np.searchsorted(np.sort(tokens[:, 0]), words[:, 1], side="left")
    ended = np.searchsorted(np.sort(tokens[:, 1]), words[:, 0], side="right")
    return begun - ended
