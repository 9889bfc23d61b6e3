"""Loading models from folders. A model whose weights are not exactly those of its configuration is refused in one line."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)
from transformers.utils import logging as transformers_logging

from lmeff.errors import InputError
from lmeff.library_internals import has_tied_weights
from lmeff.models.buffers import is_buffer
from lmeff.models.causality import check_causal
from lmeff.models.config_file import loads_as_saved

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_OPTIONS = {"trust_remote_code": False, "local_files_only": True}
_OTHER_HEADS = re.compile(r"(^|\.)(pooler|seq_relationship|classifier|score|qa_outputs)\.")
"""Weights of heads for other tasks, which a language model may have beside its own head."""


def load_config(folder: Path, **more: Any) -> PreTrainedConfig:
    config = AutoConfig.from_pretrained(folder, **_OPTIONS, **more)
    loads_as_saved(config)
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, **_OPTIONS)


def load_causal_model(folder: Path) -> PreTrainedModel:
    """A causal language model in float32. Raises InputError as `load_language_model` does, and for a model that sees the very
    tokens that it is to predict."""
    model = load_language_model(folder)
    check_causal(model, folder)
    return model


def load_language_model(folder: Path, precision: str = "float32") -> PreTrainedModel:
    """A causal or masked language model, from safetensors, without running code of the folder.

    Raises InputError for another kind of model, and for weights that are not those of the configuration.
    """
    model = _load_checked(folder, dtype=DTYPES[precision])
    _check_tied(folder, model)
    return model


def check_weights(folder: Path) -> None:
    """Raises InputError for weights that are not those of the configuration. Looks at names and shapes only, and not at all at
    models that transformers does not know as language models of one stack, nor at quantized ones, whose parameters have other
    names."""
    config = load_config(folder)
    is_known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or type(config) in MODEL_FOR_MASKED_LM_MAPPING
    is_quantized = getattr(config, "quantization_config", None) is not None
    if is_known and not is_quantized and not getattr(config, "is_encoder_decoder", False):
        _load_checked(folder, device_map="meta")


def _load_checked(folder: Path, **options: Any) -> PreTrainedModel:
    config = load_config(folder)
    check_one_stack(folder, config)
    auto = language_model_class(config)
    if auto is None:
        raise InputError(f"{folder}: transformers has no language model of the kind {config.model_type}")
    model, info = _from_pretrained(auto, folder, **{"config": config, **options})
    _check_shapes(folder, info["mismatched_keys"])
    _check_nothing_missing(folder, info["missing_keys"])
    _check_nothing_unexpected(folder, (name for name in info["unexpected_keys"] if not _OTHER_HEADS.search(name)))
    return model


def language_model_class(config: PreTrainedConfig) -> Any:
    """`AutoModelForCausalLM` or `AutoModelForMaskedLM`, with which transformers loads a language model of this configuration;
    None where it has neither.

    Some configurations, such as BERT's, fit both. Then `architectures`, the class that was saved, decides.
    """
    is_causal, is_masked = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING, type(config) in MODEL_FOR_MASKED_LM_MAPPING
    if is_causal and is_masked:
        saved = config.architectures or []
        mappings: tuple[Any, Any] = MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
        as_causal, as_masked = (mapping[type(config)].__name__ for mapping in mappings)
        is_causal = as_causal in saved or not any(
            name == as_masked or name.endswith("ForPreTraining") for name in saved
        )
    return AutoModelForCausalLM if is_causal else AutoModelForMaskedLM if is_masked else None


def has_classifier(config: PreTrainedConfig) -> bool:
    """Whether transformers has a classification head for models of this kind."""
    return type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


def check_can_classify(folder: Path) -> None:
    """Raises InputError for a model that neither transformers nor we can give a classification head."""
    config = load_config(folder)
    check_one_stack(folder, config)
    if not has_classifier(config) and language_model_class(config) is not AutoModelForCausalLM:
        raise InputError(
            f"{folder}: transformers has no classification head for the kind {config.model_type}, and no causal language model"
            " of that kind that could get one of ours, so it cannot be fine-tuned on these tasks"
        )


def load_with_new_head(folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    """A classifier in float32 with a new head on the body of the folder's model; the language model itself where transformers
    has no classification head for its kind. Raises InputError."""
    check_can_classify(folder)
    if not has_classifier(config):
        return _load_checked(folder, config=config, dtype=torch.float32)
    model, info = _from_pretrained(AutoModelForSequenceClassification, folder, config=config, dtype=torch.float32)
    body = _Body(model)
    _check_shapes(folder, (mismatch for mismatch in info["mismatched_keys"] if body.has(mismatch[0])))
    _check_nothing_missing(folder, filter(body.has, info["missing_keys"]))
    _check_nothing_unexpected(folder, filter(body.has, info["unexpected_keys"]))
    return model


def _from_pretrained(auto: Any, folder: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and which of its weights do not fit: with the mismatches ignored, we can say it in our own words."""
    info_only = {"output_loading_info": True, "ignore_mismatched_sizes": True, "use_safetensors": True}
    with _without_bar():
        return auto.from_pretrained(folder, **_OPTIONS, **info_only, **options)


@contextmanager
def _without_bar() -> Iterator[None]:
    """transformers shows a bar of its own for the weights that it reads, wanted or not."""
    has_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if has_bars:
            transformers_logging.enable_progress_bar()


class _Body:
    """Tells the parameters of a model's body from those of its head, whether or not their names begin with the body's prefix. A
    pooler is part of the head."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._prefix = f"{model.base_model_prefix}."
        self._modules = {_without_numbers(name) for name, _ in model.base_model.named_modules() if name}

    def has(self, name: str) -> bool:
        inner = name.removeprefix(self._prefix)
        if re.search(r"(^|\.)pooler\.", inner):
            return False
        return inner != name or _without_numbers(inner.rpartition(".")[0]) in self._modules


def _without_numbers(name: str) -> str:
    """The name with the number of a layer replaced: a body may have fewer layers than the folder's weights."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


def check_one_stack(name: object, config: PreTrainedConfig) -> None:
    """Raises InputError for an encoder-decoder. `name`: what the user called it."""
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{name}: an encoder-decoder ({config.model_type}); models of one stack can be measured, not of two"
        )


def _check_shapes(folder: Path, mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    """Raises InputError for the first of (parameter, its shape in the weights, its shape by the configuration)."""
    if mismatches := sorted((name, tuple(in_weights), tuple(in_config)) for name, in_weights, in_config in mismatched):
        name, *both = mismatches[0]
        in_weights, in_config = (" x ".join(map(str, shape)) for shape in both)
        raise InputError(
            f"{folder}: its weights have {name} of {in_weights}, its configuration {in_config}{_and_more(mismatches)}"
        )


def _check_nothing_missing(folder: Path, missing: Iterable[str]) -> None:
    """Raises InputError for parameters that the weights of a model lack; transformers would draw them at random."""
    if names := sorted(missing):
        raise InputError(f"{folder}: its weights lack {names[0]}{_and_more(names)}")


def _check_nothing_unexpected(folder: Path, unexpected: Iterable[str]) -> None:
    """Raises InputError for weights that the configuration has no place for, such as layers or biases; transformers would leave
    them out."""
    names = sorted(name for name in unexpected if not is_buffer(name, _shape(folder, name)))
    if names:
        raise InputError(
            f"{folder}: its weights have {names[0]}{_and_more(names)}, which its configuration has no place for; without it"
            " this would be another model"
        )


def _shape(folder: Path, name: str) -> list[int]:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118 - not a dictionary
                return file.get_slice(name).get_shape()
    return []


def _check_tied(folder: Path, model: PreTrainedModel) -> None:
    """Raises InputError for weights with a head of their own where the configuration says that it is the input embedding:
    transformers 5 takes that head, older versions take the embedding."""
    head: Any = model.get_output_embeddings()
    embeddings: Any = model.get_input_embeddings()
    is_tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False) and has_tied_weights(model)
    if not is_tied or head is None or head.weight is embeddings.weight:
        return
    if head.weight.shape != embeddings.weight.shape or not torch.equal(head.weight, embeddings.weight):
        raise InputError(
            f"{folder}: its weights have an output embedding of their own; its configuration says that it is the input"
            " embedding (tie_word_embeddings)"
        )


def _and_more(names: list[Any]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, num_embeddings: int) -> None:
    """Raises InputError for a tokenizer with ordinary tokens that a model has no embedding for: it belongs to another model. A
    special token without an embedding is an error only when a text has it (`check_token`)."""
    added = set(tokenizer.added_tokens_decoder)
    check_token(
        max((token for token in tokenizer.get_vocab().values() if token not in added), default=0), num_embeddings
    )


def check_token(token: int, num_embeddings: int) -> None:
    """Raises InputError for a token that a model has no embedding for."""
    if token >= num_embeddings:
        raise InputError(f"the tokenizer gives token {token}; the model has embeddings of {num_embeddings} tokens")
