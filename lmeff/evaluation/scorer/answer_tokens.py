"""Which tokens of a text are those of an answer, whatever the tokenizer adds to a text by itself, and what a text begins with.

A context and the answer after it are encoded together, without the special tokens of the tokenizer's post-processor. The
answer's tokens are all from the first one that reaches into its characters, as in BabyLM's pipeline. lm-eval counts the
tokens of the context alone instead, which is the same wherever the whole text's tokens begin with those. Where a token
straddles the border (`un` + `happy` as one `unhappy`), or the tokenizer ends a text with a token of its own, counting would
score too few tokens, or the wrong ones. Spaces at the end of a context belong to the answer, as in lm-eval.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from lmeff.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ContextStart = Literal["bos", "tokenizer"]
"""What a context begins with: one BOS (its EOS for a tokenizer without BOS), whatever the tokenizer adds; or what the tokenizer
puts in front of a text by itself, which may be nothing. What has no context is scored after one BOS in both."""

_PROBES = ("a", "The", "1", ".")


def check_context_start(value: str) -> None:
    """Raises InputError for what is no `ContextStart`."""
    if value not in get_args(ContextStart):
        raise InputError(f"context_start={value}: {' or '.join(get_args(ContextStart))}")


def own_tokens(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """The ids of texts alone: nothing that the tokenizer adds."""
    return tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def split_tokens(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """For each context and answer the tokens of both, which together are those of the whole text.

    Without offsets, which only fast tokenizers give, the answer begins at the first token that the context alone does not have,
    or later where what is decoded from there still ends with all of it.
    """
    contexts = [context.rstrip() for context, _ in texts]
    wholes = [context + answer for context, answer in texts]
    alone = list(dict.fromkeys(filter(None, contexts)))
    known = {"": [], **dict(zip(alone, own_tokens(tokenizer, alone), strict=True))} if alone else {"": []}
    ends: list[list[int] | None] = [None] * len(wholes)
    if tokenizer.is_fast and alone:
        options = {"return_offsets_mapping": True, "return_attention_mask": False, "verbose": False}
        encoded = tokenizer(wholes, add_special_tokens=False, **options)
        ends = [[end for _, end in offsets] for offsets in encoded["offset_mapping"]]
        whole_ids = encoded["input_ids"]
    else:
        whole_ids = own_tokens(tokenizer, wholes)
    split = []
    for context, whole, ids, own_ends in zip(contexts, wholes, whole_ids, ends, strict=True):
        first = 0
        if context and own_ends is not None:
            first = _first_by_offsets(ids, known[context], own_ends, len(context))
        elif context:
            first = _first_by_text(tokenizer, ids, known[context], whole[len(context) :])
        split.append((ids[:first], ids[first:]))
    return split


def _first_by_offsets(ids: list[int], context_ids: list[int], ends: list[int], border: int) -> int:
    """The number of the answer's first token."""
    count = len(context_ids)
    if ids[:count] == context_ids and count < len(ids) and (count == 0 or ends[count - 1] <= border):
        return count
    return next((number for number, end in enumerate(ends) if end > border), len(ids))


def _first_by_text(tokenizer: "PreTrainedTokenizerBase", ids: list[int], context_ids: list[int], answer: str) -> int:
    """The number of the answer's first token, by what the tokenizer decodes."""
    pairs = enumerate(zip(ids, context_ids, strict=False))
    first = next((number for number, (one, other) in pairs if one != other), min(len(ids), len(context_ids)))
    wanted = _without_spaces(answer)
    if not wanted or first == len(context_ids) < len(ids):
        return first
    while first < len(ids) - 1 and _without_spaces(tokenizer.decode(ids[first + 1 :])).endswith(wanted):
        first += 1
    return first


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def tokens_in_front(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """What a tokenizer puts in front of a text by itself. Raises InputError for one that changes the text's own tokens."""
    for probe in _PROBES:
        own = tokenizer(probe, add_special_tokens=False)["input_ids"]
        whole = tokenizer(probe)["input_ids"]
        for start in range(len(whole) - len(own) + 1) if own else ():
            if whole[start : start + len(own)] == own:
                return whole[:start]
    raise InputError("its tokenizer puts tokens of its own among those of a text; use context_start: bos")


def after_start(
    start: int, front: list[int] | None, context: list[int], answer: list[int]
) -> tuple[list[int], list[int]]:
    """What the model reads before an answer, and the tokens to score.

    Args:
        start: the one token that a text begins with, which a text may spell itself.
        front: what a context begins with in its place; None: with `start`.
    """
    if not context:
        # As lm-eval has it: a text that begins with the token is scored from its second token on.
        return ([start], answer) if answer[:1] != [start] else (answer[:1], answer[1:])
    if context[0] == start:
        return context, answer
    return ([start] if front is None else front) + context, answer
