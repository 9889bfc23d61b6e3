"""Requests and layouts that are made once for all models of a run: these share a tokenizer, so theirs are the same."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

_NUM_KEPT = 512
_kept: OrderedDict[Hashable, Any] = OrderedDict()
_slow_tokenizers: dict[int, Any] = {}
"""Kept alive, so that no other object gets the number of one of them."""


def keep(key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gave for this key, unless a few hundred others were asked for since."""
    if key not in _kept:
        _kept[key] = make()
    _kept.move_to_end(key)
    while len(_kept) > _NUM_KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def digest(texts: Iterable[str]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        hashed.update(text.encode(errors="surrogatepass") + b"\x1f")
    return hashed.digest()


def tokenizer_digest(tokenizer: Any) -> bytes:
    """What decides the ids that a fast tokenizer gives; of a slow one, that it is this very object."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return digest([backend.to_str()])
    _slow_tokenizers[id(tokenizer)] = tokenizer
    return digest([f"{type(tokenizer)} {id(tokenizer)}"])
