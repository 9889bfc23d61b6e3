"""Requests of lm-eval as token ids: all texts of a task encoded in one batch, once for all models of a run."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.scorer.answer_tokens import ContextStart, after_start, own_tokens, split_tokens, tokens_in_front
from lmeff.evaluation.scorer.prefix_tree import Request
from lmeff.models.loading import check_token
from lmeff.tokens.tokenizer.document_ids import beginning_and_end

TokenRequest = tuple[tuple[str, str] | None, list[int], list[int]]
"""lm-eval's: the texts, the tokens of the context, and those of the continuation."""

_NUM_KEPT = 512
_kept: OrderedDict[Hashable, Any] = OrderedDict()
_slow_tokenizers: dict[int, Any] = {}
"""Kept alive, so that no other object gets the number of one of them."""


def keep(key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gave for this key, unless a few hundred others were asked for since. Models of one run share a tokenizer, so
    their requests and layouts are the same."""
    if key not in _kept:
        _kept[key] = make()
    _kept.move_to_end(key)
    while len(_kept) > _NUM_KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def digest(texts: Iterable[str]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for text in texts:
        found.update(text.encode(errors="surrogatepass") + b"\x1f")
    return found.digest()


def tokenizer_digest(tokenizer: Any) -> bytes:
    """What decides the ids that a fast tokenizer gives; of a slow one, that it is this very object."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return digest([backend.to_str()])
    _slow_tokenizers[id(tokenizer)] = tokenizer
    return digest([f"{type(tokenizer)} {id(tokenizer)}"])


def check_lengths(requests: Sequence[TokenRequest], max_length: int) -> None:
    """Raises InputError for a continuation that a model cannot take whole, and for one or a context without tokens."""
    for texts, context, continuation in requests:
        if not (context and continuation):
            raise InputError(f"a text to score, or what is before it, has no tokens: {texts}")
        if len(continuation) > max_length:
            raise InputError(f"a text to score has {len(continuation)} tokens; the model takes at most {max_length}")


def check_ids(requests: Sequence[TokenRequest], model: PreTrainedModel) -> None:
    """Raises InputError for a token that the model has no embedding for: its tokenizer is another model's."""
    largest = max((max(*context, *rest) for _, context, rest in requests), default=0)
    check_token(largest, model.get_input_embeddings().num_embeddings)


def model_requests(requests: Sequence[TokenRequest], max_length: int) -> list[Request]:
    """What the model reads and which tokens are scored. A context that is too long loses its beginning, as in lm-eval."""
    return [((context + rest)[-(max_length + 1) :][:-1], rest) for _, context, rest in requests]


class EncodesAhead(HFLM):
    """lm-eval's Hugging Face model with our way from texts to tokens, for its own code as for ours.

    Every text of a causal model begins with one BOS or, where there is a context, as `context_start` says. Of an answer its own
    tokens are scored, and nothing else.
    """

    context_start: ContextStart = "bos"

    @property
    def prefix_token_id(self) -> int:
        """What a text begins with: BOS, without one EOS. Raises InputError for a tokenizer without both."""
        if self.custom_prefix_token_id is not None:
            return self.custom_prefix_token_id
        return beginning_and_end(self.tokenizer)[0]

    def get_model_info(self) -> dict[str, Any]:
        """For the results of lm-eval's command line."""
        return {**super().get_model_info(), "context_start": self.context_start}

    def token_requests(self, requests: Sequence[Instance]) -> list[TokenRequest]:
        """The tokens to read and to score for lm-eval's requests."""
        if empty := next((one for one in requests if not one.args[1]), None):
            raise InputError(f"{empty.task_name or 'a request'}: a text to score is empty")
        texts = [one.args for one in requests]
        if self.backend != "causal":
            return [(each, *self._for_encoder(*each)) for each in texts]
        start, front = self.prefix_token_id, self._front
        pairs = split_tokens(self.tokenizer, texts)
        return [(each, *after_start(start, front, *pair)) for each, pair in zip(texts, pairs, strict=True)]

    @property
    def _front(self) -> list[int] | None:
        """What a context begins with in place of BOS, which lm-eval's `add_bos_token` may forbid."""
        if self.context_start == "bos":
            return None
        return [] if self.add_bos_token is False else tokens_in_front(self.tokenizer)

    def _for_encoder(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        """lm-eval's own: the encoder reads what the tokenizer makes of a text."""
        if context:
            return self._encode_pair(context, answer)
        return [self.prefix_token_id], self.tok_encode(answer, add_special_tokens=False)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """lm-eval's, with our tokens."""
        return self._loglikelihood_tokens(self.token_requests(requests), disable_tqdm=disable_tqdm)

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **options: Any,
    ) -> list[int]:
        """Where lm-eval leaves it to the tokenizer (`loglikelihood_rolling`, which puts BOS in front): the text's own."""
        if add_special_tokens is not None or self.backend != "causal":
            return super().tok_encode(string, add_special_tokens, left_truncate_len, **options)
        (ids,) = own_tokens(self.tokenizer, [string])
        ids = ids[1:] if ids[:1] == [self.prefix_token_id] else ids
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `generate_until` goes on from, (texts, tokens) padded, and where it is no padding."""
        if self.backend != "causal":
            return super().tok_batch_encode(strings, padding_side, left_truncate_len, truncation)
        start, front = self.prefix_token_id, self._front
        rows = [after_start(start, front, own, [])[0] for own in own_tokens(self.tokenizer, strings)]
        rows = [row[-left_truncate_len:] if left_truncate_len else row for row in rows]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            place = slice(width - len(row), width) if padding_side == "left" else slice(len(row))
            ids[number, place], mask[number, place] = torch.tensor(row), 1
        return ids, mask
