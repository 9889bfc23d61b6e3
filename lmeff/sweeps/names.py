"""What a case of a sweep is called: its values on the axes, in a form that is a folder's name and a part of a repository's.

A name depends on the sweep's axes and on the case's own values alone, so that more values, other seeds or another order leave
it as it is.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lmeff.quantities import format_count

_MAX_VALUE, _MAX_NAME = 32, 56
"""Characters; beyond them, a hash tells names apart."""


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last part, or as many of its last parts as tell it from the others: `model.size` is `size`."""
    short = {}
    for key in keys:
        parts = key.split(".")
        forms = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        is_own = (form for form in forms if not any(f".{other}".endswith(f".{form}") for other in others))
        short[key] = next(is_own, key)
    return short


def case_name(values: Mapping[str, Any], named: Sequence[str], short: Mapping[str, str]) -> str:
    """`tinystories_size-20m_vocab_size-8k`: the values by the axes' keys; those of `named` are names, which say enough."""
    words = [
        _slug(str(value), value) if key in named else f"{short[key]}-{_slug(_text(value), value)}"
        for key, value in values.items()
    ]
    name = re.sub(r"^[^A-Za-z0-9]+", "", "_".join(words))
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[: _MAX_NAME - 7].rstrip('-_.')}-{_hash(name)}"


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return format_count(value)
        case float():
            return f"{value:g}"
        case list():
            return "-".join(map(_text, value))
    return str(value)


def _slug(text: str, value: Any) -> str:
    """Letters, digits, `.`, `_` and single `-`. What is lost or cut is told apart by a hash of the value."""
    slug = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._]+", "-", text)).strip("-._")
    if slug == text and len(slug) <= _MAX_VALUE:
        return slug
    if isinstance(value, int | float | list) and len(slug) <= _MAX_VALUE and not re.search("[^-+0-9kMe.]", text):
        return slug  # such as -1 or a list of counts, whose signs are no loss
    return f"{slug[: _MAX_VALUE - 7].rstrip('-._')}-{_hash(value)}".strip("-")


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]
