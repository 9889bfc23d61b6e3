"""Documents as token ids with any tokenizer: what begins and ends one, and its text without special tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmeff.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def beginning_and_end(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int | None]:
    """Ids of what stands before a document and of what ends it (None: nothing). Raises InputError when nothing can begin it."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is None and eos is None:
        raise InputError("its tokenizer has neither a BOS nor an EOS token, so there is nothing to begin a text with")
    return eos if bos is None else bos, eos


def encoded(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts without special tokens; what spells one is text."""
    encoding = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
    ids: list[list[int]] = encoding["input_ids"]
    return ids
