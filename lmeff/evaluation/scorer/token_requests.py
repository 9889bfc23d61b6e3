"""lm-eval's requests as token ids, for its own code as for ours. All texts of a task are encoded at once.

Every text begins with one BOS or, where there is a context, as `context_start` says. Of an answer its own tokens are scored,
and nothing else.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lmeff.evaluation.scorer.answer_tokens import after_start, own_tokens, split_tokens
from lmeff.evaluation.scorer.trees.prefix_tree import ScoredText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenRequest = tuple[tuple[str, str] | None, list[int], list[int]]
"""lm-eval's: the texts, the tokens of the context, and those of the continuation."""


def token_requests(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[tuple[str, str]], start: int, front: list[int] | None
) -> list[TokenRequest]:
    """The tokens to read and to score for contexts and continuations.

    Args:
        start: what a text begins with.
        front: what a context begins with in its place; None: with `start`.
    """
    pairs = split_tokens(tokenizer, texts)
    return [(each, *after_start(start, front, *pair)) for each, pair in zip(texts, pairs, strict=True)]


def text_ids(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], start: int) -> list[list[int]]:
    """The tokens of whole texts, without the one that each begins with, which a text may spell itself."""
    return [ids[1:] if ids[:1] == [start] else ids for ids in own_tokens(tokenizer, texts)]


def window_requests(ids: list[int], start: int, max_length: int) -> list[TokenRequest]:
    """lm-eval's windows over a whole text, of which each scores the tokens that none before it did."""
    windows = get_rolling_token_windows(token_list=ids, prefix_token=start, max_seq_len=max_length, context_len=1)
    return [(None, *make_disjoint_window(window)) for window in windows]


def prompt_batch(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    start: int,
    front: list[int] | None,
    padding_side: str,
    max_length: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is generated from, (texts, tokens) padded, and where it is no padding. Of a long text the last `max_length`
    tokens; for `start` and `front` see `token_requests`."""
    rows = [after_start(start, front, own, [])[0] for own in own_tokens(tokenizer, texts)]
    rows = [row[-max_length:] if max_length else row for row in rows]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if padding_side == "left" else slice(len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return ids, mask


def scored_texts(requests: Sequence[TokenRequest], max_length: int) -> list[ScoredText]:
    """What the model reads and which tokens are scored. A context that is too long loses its beginning, as in lm-eval."""
    return [((context + rest)[-(max_length + 1) :][:-1], rest) for _, context, rest in requests]
