"""Models of a folder, whole and as their configuration says, or one line about what is wrong with them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from lmeff.errors import InputError
from lmeff.models.buffers import is_buffer
from lmeff.models.causality import check_causal

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_OPTIONS = {"trust_remote_code": False, "local_files_only": True}
_OTHER_HEADS = re.compile(r"(^|\.)(pooler|seq_relationship|classifier|score|qa_outputs)\.")
"""Heads for other ends than language modeling, which stand beside that one's."""


def load_config(folder: Path, **more: Any) -> PreTrainedConfig:
    return AutoConfig.from_pretrained(folder, **_OPTIONS, **more)


def load_causal_model(folder: Path) -> PreTrainedModel:
    """In float32. Raises InputError as `load_language_model` does, and for a model that sees later tokens: its predictions of
    a token would have seen it."""
    model = load_language_model(folder)
    check_causal(model, folder)
    return model


def load_language_model(folder: Path, precision: str = "float32") -> PreTrainedModel:
    """A causal or masked language model. Safetensors only, no code from the folder is run.

    Raises InputError for a model of another kind, and for weights that are not those of the configuration.
    """
    model = _load_checked(folder, dtype=DTYPES[precision])
    _check_tied(folder, model)
    return model


def check_weights(folder: Path) -> None:
    """Raises InputError for weights that are not those of the configuration, without reading them; for no model that
    transformers does not know as a language model of one stack, nor for a quantized one, whose parameters have other names."""
    config = load_config(folder)
    is_known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or type(config) in MODEL_FOR_MASKED_LM_MAPPING
    is_quantized = getattr(config, "quantization_config", None) is not None
    if is_known and not is_quantized and not getattr(config, "is_encoder_decoder", False):
        _load_checked(folder, device_map="meta")


def _load_checked(folder: Path, **options: Any) -> PreTrainedModel:
    config = load_config(folder)
    check_one_stack(folder, config)
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        auto = AutoModelForCausalLM
    elif type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        auto = AutoModelForMaskedLM
    else:
        raise InputError(f"{folder}: transformers has no language model of the kind {config.model_type}")
    model, info = _from_pretrained(auto, folder, **options)
    _check_shapes(folder, info["mismatched_keys"])
    check_whole(folder, info["missing_keys"])
    _check_no_more(folder, (name for name in info["unexpected_keys"] if not _OTHER_HEADS.search(name)))
    return model


def check_can_classify(folder: Path) -> None:
    """Raises InputError for a model that transformers has no classifier of."""
    config = load_config(folder)
    check_one_stack(folder, config)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InputError(
            f"{folder}: transformers has no classification head for the kind {config.model_type}, so it cannot be fine-tuned"
            " on these tasks"
        )


def load_with_new_head(folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    """A classifier in float32 whose head is new, and whose body is that of the folder. Raises InputError."""
    check_can_classify(folder)
    model, info = _from_pretrained(AutoModelForSequenceClassification, folder, config=config, dtype=torch.float32)
    body = _Body(model)
    _check_shapes(folder, (found for found in info["mismatched_keys"] if body.has(found[0])))
    check_whole(folder, filter(body.has, info["missing_keys"]))
    _check_no_more(folder, filter(body.has, info["unexpected_keys"]))
    return model


def _from_pretrained(auto: Any, folder: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and what of its weights does not fit, which is looked at afterwards."""
    wanted = {"output_loading_info": True, "ignore_mismatched_sizes": True, "use_safetensors": True}
    return auto.from_pretrained(folder, **_OPTIONS, **wanted, **options)


class _Body:
    """Which names of parameters are a body's, whether or not they begin with its prefix. A pooler is part of the head."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._prefix = f"{model.base_model_prefix}."
        self._modules = {_of_any_layer(name) for name, _ in model.base_model.named_modules() if name}

    def has(self, name: str) -> bool:
        inner = name.removeprefix(self._prefix)
        if re.search(r"(^|\.)pooler\.", inner):
            return False
        return inner != name or _of_any_layer(inner.rpartition(".")[0]) in self._modules


def _of_any_layer(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


def check_one_stack(name: object, config: PreTrainedConfig) -> None:
    """Raises InputError for an encoder-decoder. `name`: what the user called it."""
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{name}: an encoder-decoder ({config.model_type}); models of one stack can be measured, not of two"
        )


def _check_shapes(folder: Path, mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    if found := sorted((name, tuple(own), tuple(wanted)) for name, own, wanted in mismatched):
        name, own, wanted = found[0]
        shapes = [" x ".join(map(str, shape)) for shape in (own, wanted)]
        raise InputError(
            f"{folder}: its weights have {name} of {shapes[0]}, its configuration {shapes[1]}{_more(found)}"
        )


def check_whole(folder: Path, missing: Iterable[str]) -> None:
    """Raises InputError when parameters are missing in the weights of a model, which transformers would fill at random."""
    if names := sorted(missing):
        raise InputError(f"{folder}: its weights lack {names[0]}{_more(names)}")


def _check_no_more(folder: Path, unexpected: Iterable[str]) -> None:
    """transformers leaves out what a configuration has no place for, such as layers or biases, and goes on."""
    names = sorted(name for name in unexpected if not is_buffer(name, _shape(folder, name)))
    if names:
        raise InputError(
            f"{folder}: its weights have {names[0]}{_more(names)}, which its configuration has no place for; without it this"
            " would be another model"
        )


def _shape(folder: Path, name: str) -> list[int]:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118 - not a dictionary
                return file.get_slice(name).get_shape()
    return []


def _check_tied(folder: Path, model: PreTrainedModel) -> None:
    """transformers 5 takes a head of its own where the weights have one, older versions the embeddings."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    is_tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False) and model._tied_weights_keys
    if not is_tied or head is None or head.weight is embeddings.weight:
        return
    if head.weight.shape != embeddings.weight.shape or not torch.equal(head.weight, embeddings.weight):
        raise InputError(
            f"{folder}: its weights have an output embedding of their own; its configuration says that it is the input"
            " embedding (tie_word_embeddings)"
        )


def _more(found: list) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, num_embeddings: int) -> None:
    """Raises InputError for a tokenizer with ordinary tokens that a model has no embedding for: it is another model's. Special
    tokens that were added to it are an error when a text has one (`check_token`)."""
    added = set(tokenizer.added_tokens_decoder)
    check_token(
        max((token for token in tokenizer.get_vocab().values() if token not in added), default=0), num_embeddings
    )


def check_token(token: int, num_embeddings: int) -> None:
    """Raises InputError for a token that a model has no embedding for."""
    if token >= num_embeddings:
        raise InputError(f"the tokenizer gives token {token}; the model has embeddings of {num_embeddings} tokens")
