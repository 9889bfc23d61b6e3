"""Tokenizer, token shards on disk, and the order in which training reads them."""

from lmeff.tokens.excerpt import Excerpt
from lmeff.tokens.of_run import prepare_run
from lmeff.tokens.order import DataOrder, PermutationOrder, WrappedOrder
from lmeff.tokens.packing import positions_per_epoch, prepare_packing
from lmeff.tokens.prepare import Tokens, find_tokens, prepare_tokens
from lmeff.tokens.shards import TokenStream
from lmeff.tokens.tokenizer.bpe import BOS_ID, EOS_ID, PAD_ID, prepare_tokenizer, tokenizer_sha256

__all__ = [
    "BOS_ID",
    "EOS_ID",
    "PAD_ID",
    "DataOrder",
    "Excerpt",
    "PermutationOrder",
    "TokenStream",
    "Tokens",
    "WrappedOrder",
    "find_tokens",
    "positions_per_epoch",
    "prepare_packing",
    "prepare_run",
    "prepare_tokenizer",
    "prepare_tokens",
    "tokenizer_sha256",
]
