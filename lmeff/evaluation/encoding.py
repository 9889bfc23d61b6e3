"""Requests of lm-eval as token ids: all texts encoded in one batch, by lm-eval's own rules, once for all models of a run."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.loading import check_token
from lmeff.evaluation.prefix_tree import Request

TokenRequest = tuple[tuple[str, str] | None, list[int], list[int]]
"""lm-eval's: the texts, the tokens of the context, and those of the continuation."""

_NUM_KEPT = 512
_kept: OrderedDict[Hashable, Any] = OrderedDict()


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
    return digest([backend.to_str()] if backend is not None else [f"{type(tokenizer)} {id(tokenizer)}"])


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
    """lm-eval's Hugging Face model, with all texts of some requests encoded in one batch before it asks for them."""

    _encoded: dict[tuple[str, bool | None], list[int]] | None = None
    _recorded: list[TokenRequest] | None = None

    def token_requests(self, requests: Sequence[Instance]) -> list[TokenRequest]:
        """The token ids that lm-eval scores for its requests: its own code, stopped before the model."""
        if empty := next((one for one in requests if not one.args[1]), None):
            raise InputError(f"{empty.task_name or 'a request'}: a text to score is empty")
        self._recorded, self._encoded = [], self._encode([one.args for one in requests])
        try:
            super().loglikelihood(requests, disable_tqdm=True)
            return self._recorded
        finally:
            self._recorded = self._encoded = None

    def _loglikelihood_tokens(self, requests: list, **options: Any) -> list:
        if self._recorded is None:
            return super()._loglikelihood_tokens(requests, **options)
        self._recorded += requests
        return []

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, *rest: Any, **options: Any) -> list[int]:
        if self._encoded is not None and not rest and not options:
            known = self._encoded.get((string, add_special_tokens))
            if known is not None:
                return list(known)
        return super().tok_encode(string, add_special_tokens, *rest, **options)

    def _encode(self, texts: Sequence[tuple[str, str]]) -> dict[tuple[str, bool | None], list[int]]:
        """Ids by text and `add_special_tokens`, of what lm-eval will ask for: without a context the continuation alone, else
        the context, less the spaces at its end, and both together. What is missing here is encoded when it is asked for."""
        alone = dict.fromkeys(continuation for context, continuation in texts if not context)
        pairs = [(context, continuation) for context, continuation in texts if context]
        both = dict.fromkeys([part for context, rest in pairs for part in (context.rstrip(), context + rest)])
        begin = self.tokenizer.decode(self.prefix_token_id)
        both = [text for text in both if text and not (begin and text.startswith(begin))]
        special = {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}
        found: dict[tuple[str, bool | None], list[int]] = {}
        for flag, chosen, options in ((False, list(alone), {"add_special_tokens": False}), (None, both, special)):
            if chosen and super().tok_encode(chosen[0], flag) == self.tokenizer.encode(chosen[0], **options):
                ids = self.tokenizer(chosen, return_attention_mask=False, **options)["input_ids"]
                found.update(((text, flag), one) for text, one in zip(chosen, ids, strict=True))
        return found
