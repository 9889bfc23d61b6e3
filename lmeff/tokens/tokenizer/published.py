"""A tokenizer's files as a revision carries them: the same ids in every transformers from 4.46 on.

transformers 4.51 and 4.57 believe `tokenizer_config.json` more than `tokenizer.json`: without `add_prefix_space` there they
take the space from before the first word.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.files import read_json, sha256_file, write_json, write_text
from lmeff.tokens.tokenizer.bpe import BOS_ID, SPECIAL_TOKENS

_BOS = SPECIAL_TOKENS[BOS_ID]
MASK_TOKEN = "<mask>"


def write_published_tokenizer(prepared: Path, folder: Path, add_bos: bool = False, add_mask: bool = False) -> None:
    """Copies the files of a prepared tokenizer, which may be an older version's. With `add_bos` the copy puts `<s>` in front of
    every text by itself; with `add_mask` it has `<mask>` as its last entry, which text without it does not notice."""
    special = read_json(prepared / "special_tokens_map.json")
    config = read_json(prepared / "tokenizer_config.json")
    shutil.copyfile(prepared / "special_tokens_map.json", folder / "special_tokens_map.json")
    shutil.copyfile(prepared / "tokenizer.json", folder / "tokenizer.json")
    tokenizer = read_json(prepared / "tokenizer.json")
    if add_mask:
        tokenizer, config = with_mask(tokenizer), config | {"mask_token": MASK_TOKEN}
        write_json(folder / "special_tokens_map.json", special | {"mask_token": MASK_TOKEN})
    if add_bos:
        tokenizer = with_bos(tokenizer)
    if add_mask or add_bos:
        write_text(folder / "tokenizer.json", _text(tokenizer))
    write_json(folder / "tokenizer_config.json", complete_tokenizer_config(config, tokenizer))


def complete_tokenizer_config(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """`tokenizer_config.json` with what of `tokenizer.json` it has to repeat; all else as it is."""
    own = (tokenizer.get("pre_tokenizer") or {}).get("add_prefix_space")
    return dict(config) if own is None else {**config, "add_prefix_space": own}


def tokenizer_fault(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> str | None:
    """What some versions of transformers would encode otherwise than we do, in words; None when all of them agree."""
    wanted = (tokenizer.get("pre_tokenizer") or {}).get("add_prefix_space")
    if wanted is None or config.get("add_prefix_space", False) == wanted:
        return None
    return "without add_prefix_space, transformers 4.51, 4.57 and others give the first word of a text other ids"


def with_bos(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `tokenizer.json`, with a post-processor that begins every text with `<s>`."""
    bos, text, second = {"SpecialToken": {"id": _BOS, "type_id": 0}}, _sequence("A", 0), _sequence("B", 1)
    template = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, second],
        "special_tokens": {_BOS: {"id": _BOS, "ids": [BOS_ID], "tokens": [_BOS]}},
    }
    before = tokenizer["post_processor"]
    return {**tokenizer, "post_processor": {"type": "Sequence", "processors": [before, template]}}


def with_mask(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `tokenizer.json` with `<mask>` after all other entries. It stands for a token with the space before it, so
    that a space in front of it is a part of it."""
    entry = {"id": len(tokenizer["model"]["vocab"]), "content": MASK_TOKEN, "single_word": False, "lstrip": True}
    entry |= {"rstrip": False, "normalized": False, "special": True}
    return {**tokenizer, "added_tokens": [*tokenizer["added_tokens"], entry]}


def _sequence(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}


def _text(tokenizer: Mapping[str, Any]) -> str:
    """As `tokenizers` writes it."""
    return json.dumps(tokenizer, indent=2, ensure_ascii=False)


def prepared_sha256(folder: Path) -> str:
    """`tokenizer_sha256` of the prepared tokenizer that a revision's was made from: what its tokens were encoded with, whether
    or not the revision's own adds `<s>` or has `<mask>`."""
    path = folder / "tokenizer.json"
    ours = tokenizer = read_json(path)
    after = tokenizer.get("post_processor") or {}
    if after.get("type") == "Sequence" and len(after["processors"]) == 2:
        before = {**tokenizer, "post_processor": after["processors"][0]}
        tokenizer = before if with_bos(before) == tokenizer else tokenizer
    if added := tokenizer.get("added_tokens"):
        before = {**tokenizer, "added_tokens": added[:-1]}
        tokenizer = before if added[-1]["content"] == MASK_TOKEN and with_mask(before) == tokenizer else tokenizer
    return sha256_file(path) if tokenizer is ours else hashlib.sha256(_text(tokenizer).encode()).hexdigest()
