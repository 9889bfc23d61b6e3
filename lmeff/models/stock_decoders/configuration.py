"""Configurations of any decoder of transformers, from the keys of its own configuration. Importing this needs no torch."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lmeff.errors import InputError
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import FAMILIES as SECTIONS
from lmeff.recipe.sections.model import AutoSection
from lmeff.recipe.wording import did_you_mean, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_POSITIONS = ("max_position_embeddings", "max_seq_len", "max_sequence_length")
"""What configurations call the longest sequence that a model takes; most have the first, some as another name of theirs."""
_RANDOM = ("drop", "jitter")
"""Parts of the names of settings that make training random."""


def config_values(recipe: Recipe) -> dict[str, Any]:
    """The keys of the recipe, positions for its sequences and no dropout where it says nothing of them, and special tokens that
    few models have. Raises InputError."""
    assert isinstance(recipe.model, AutoSection)
    said = {key: value for key, value in recipe.model.config.items() if key != "model_type"}
    stock = _stock_config(recipe.model.architecture)
    _check_keys(said, stock)
    quiet = {
        key: 0.0
        for key, value in stock.to_dict().items()
        if any(part in key for part in _RANDOM) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    special = _rare_special_tokens(stock)
    length = recipe.batch.sequence_length
    key, longest = longest_sequence(stock)
    aliases = {alias: name for alias, name in stock.attribute_map.items() if alias in _POSITIONS}
    given = next((name for name in said if key and name in (key, aliases.get(key))), None)
    if given is not None:
        if not isinstance(said[given], int) or said[given] < length:
            raise InputError(
                f"model.config.{given}: {one_line(said[given], 60)} is below batch.sequence_length ({length})"
            )
        return quiet | special | said
    return quiet | special | ({key: length} if key and longest else {}) | said


def _rare_special_tokens(stock: "PreTrainedConfig") -> dict[str, int]:
    """Other names that a configuration has for special tokens; those that all have are set for every family."""
    from lmeff.tokens import BOS_ID, EOS_ID

    tokens = {"cls_token_id": BOS_ID, "sep_token_id": EOS_ID, "eod_token_id": EOS_ID}
    return {key: token for key, token in tokens.items() if getattr(stock, key, None) is not None}


def longest_sequence(config: "PreTrainedConfig") -> tuple[str | None, int | None]:
    """How the configuration calls its longest sequence, and that; for a model without limit nothing."""
    for key in _POSITIONS:
        if isinstance(value := getattr(config, key, None), int) and value > 0:
            return key, value
    return None, None


@lru_cache(maxsize=64)
def _stock_config(model_type: str) -> "PreTrainedConfig":
    """The configuration of a kind of decoder with transformers' own values. Raises InputError for what is none."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    label, shown = "model.config.model_type", one_line(repr(model_type), 60)
    decoders = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    if model_type not in CONFIG_MAPPING:
        near = did_you_mean(model_type, decoders)
        raise InputError(
            f"{label}: transformers has no {shown}{near or '; models with code of their own are not built'}"
        )
    with _without_warnings():
        config = attempt(lambda: CONFIG_MAPPING[model_type]())
    if config.is_encoder_decoder:
        raise InputError(f"{label}: {shown} is an encoder-decoder; models of one stack are trained, not of two")
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise InputError(
            f"{label}: {shown} is an encoder; 'auto' trains decoders, and bert and modernbert are families"
        )
    if model_type not in decoders:
        raise InputError(f"{label}: transformers has no causal language model of the kind {shown}")
    if config.model_type in SECTIONS:
        raise InputError(f"{label}: {shown} is the family {config.model_type!r}; write family: {config.model_type}")
    if config.get_text_config() is not config or not isinstance(getattr(config, "vocab_size", None), int):
        other = f"{model_type}_text"
        hint = f"; did you mean {other!r}?" if other in decoders else ""
        raise InputError(f"{label}: {shown} reads more than text, or is made of several models{hint}")
    return config


@contextmanager
def _without_warnings() -> Iterator[None]:
    """transformers warns of some of its own values, such as special tokens outside its vocabulary, which no model here has."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _check_keys(said: Mapping[str, Any], stock: "PreTrainedConfig") -> None:
    """transformers takes any key and says nothing, so that a model would have other values than its user thinks."""
    from transformers import PreTrainedConfig

    general = set(PreTrainedConfig().to_dict()) - {"tie_word_embeddings"}
    known = (set(stock.to_dict()) | set(stock.attribute_map)) - general
    known -= {"vocab_size", "use_cache", "pad_token_id", "bos_token_id", "eos_token_id"}
    mistakes = []
    for key in said:
        if key == stock.attribute_map.get("vocab_size") or stock.attribute_map.get(key) == "vocab_size":
            mistakes.append(f"model.config.{key}: must not be given: tokenizer.vocab_size decides it")
        elif key not in known:
            near = did_you_mean(key, known)
            some = near or f"; known: {', '.join(sorted(one for one in known if not one.startswith('_')))}"
            mistakes.append(f"model.config.{key}: unknown key of a {stock.model_type} configuration{some}")
    if mistakes:
        raise InputError(*mistakes)


@lru_cache(maxsize=64)
def config_of(model_type: str, values: str, vocab_size: int) -> "PreTrainedConfig":
    from transformers import AutoConfig

    from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID

    special_tokens = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    given = json.loads(values) | {"vocab_size": vocab_size} | special_tokens
    return attempt(lambda: AutoConfig.for_model(model_type, **given))


def attempt(build: Any) -> Any:
    """Raises InputError where transformers cannot build it, with what it says."""
    try:
        return build()
    except Exception as error:  # whatever kind of error a configuration or a model makes of values that do not fit
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"model.config: transformers cannot build this model, or it cannot be counted: {one_line(text, 250)}"
        ) from None
