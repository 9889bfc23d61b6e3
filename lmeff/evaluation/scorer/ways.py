"""How a model's texts are scored. The model itself is tried: no flag of a configuration tells what it sees."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from lmeff.errors import InputError
from lmeff.library_internals import models_loaded_whole
from lmeff.models.causality import no_decoder, sees_later_tokens
from lmeff.models.context_length import NO_COPY, model_with_one_layer
from lmeff.models.device import is_out_of_memory
from lmeff.models.loading import (
    check_one_stack,
    language_model_class,
    load_config,
    load_language_model,
    load_tokenizer,
)
from lmeff.recipe.sections.evaluation import Scoring


@dataclass(frozen=True)
class Way:
    """How texts are scored.

    causal: each token after those before it, as a decoder predicts it. left_to_right_masks: the same of an XLNet, from which
    its masks hide a token and all after it. pseudo_log_likelihood: each token by itself is masked, between the tokens on both
    sides of it (Salazar et al. 2020); in the variant within_word_l2r the later tokens of its word are masked with it
    (Kauf & Ivanova 2023).
    """

    scoring: Literal["causal", "left_to_right_masks", "pseudo_log_likelihood"]
    variant: Literal["within_word_l2r", "original"] | None = None
    is_decoder: bool = False
    """Whether the model, as it is, sees no later tokens."""

    @property
    def is_pseudo(self) -> bool:
        return self.scoring == "pseudo_log_likelihood"

    @property
    def settings(self) -> dict[str, str]:
        """What a result says of it, under `settings`; nothing of causal scores, as ever."""
        if self.scoring == "causal":
            return {}
        return {"scoring": self.scoring} | ({"scoring_variant": self.variant} if self.variant else {})


CAUSAL, MASKS = Way("causal", is_decoder=True), Way("left_to_right_masks")
_PSEUDO = {
    "auto": Way("pseudo_log_likelihood", "within_word_l2r"),
    "pseudo_log_likelihood": Way("pseudo_log_likelihood", "within_word_l2r"),
    "pseudo_log_likelihood_original": Way("pseudo_log_likelihood", "original"),
}


@dataclass(frozen=True)
class _Traits:
    """What decides how a model can be scored."""

    kind: str
    """Its class."""
    has_query_stream: bool
    sees_later: bool
    predicts_masked: bool
    """Whether it has a head that predicts masked tokens."""
    looks_both_ways: bool
    """Whether an attention mask can make a decoder look at later tokens, too. Tried only where pseudo-log-likelihood is asked
    for."""


_known: dict[tuple[str, Scoring], _Traits] = {}
"""What was found without the weights, by configuration and what was asked for."""


def check_scoring(value: str) -> None:
    """Raises InputError for what is no `Scoring`."""
    if value not in get_args(Scoring):
        raise InputError(f"scoring={value}: one of {', '.join(get_args(Scoring))}")


def way_of_folder(folder: Path, asked: Scoring) -> Way:
    """How the model of a folder is scored, found with a copy that has one layer and random weights. Raises InputError where it
    cannot be scored as asked."""
    config = load_config(folder)
    check_one_stack(folder, config)
    key = config.to_json_string(use_diff=False), asked
    if key not in _known:
        _known[key] = _traits(_small_model(folder, config), asked)
    num_embeddings = config.get_text_config().vocab_size
    return _choose(_known[key], asked, folder, lambda: _mask_token(load_tokenizer(folder), num_embeddings))


def _small_model(folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    """A copy with one layer; the model itself where there can be none."""
    try:
        with torch.random.fork_rng(devices=[]):
            return model_with_one_layer(config, language_model_class(config))
    except NO_COPY:
        with models_loaded_whole():
            return load_language_model(folder)


def way_of_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Scoring, name: object) -> Way:
    """How a model is scored. Raises InputError where it cannot be scored as asked. `name`: what the user called it."""
    return _choose(_traits(model, asked), asked, name, lambda: _mask_token(tokenizer, _num_embeddings(model)))


def _traits(model: PreTrainedModel, asked: Scoring) -> _Traits:
    has_stream = has_query_stream(model)
    sees_later = has_stream or sees_later_tokens(model)
    return _Traits(
        kind=type(model).__name__,
        has_query_stream=has_stream,
        sees_later=sees_later,
        # Not `in .values()`, which imports every architecture that has such a head.
        predicts_masked=MODEL_FOR_MASKED_LM_MAPPING.get(type(model.config), None) is type(model),
        looks_both_ways=not sees_later and asked not in ("auto", "causal") and _looks_both_ways(model),
    )


def _choose(traits: _Traits, asked: Scoring, name: object, mask_token: Callable[[], str | int]) -> Way:
    """Raises InputError. `mask_token` gives the token, or why there is none."""
    if traits.has_query_stream:
        if asked != "auto":
            raise InputError(
                f"{name}: scoring {asked}: later tokens change what a {traits.kind} says of earlier ones, unless its masks hide"
                " them, as `lmeff eval` does with scoring auto"
            )
        return MASKS
    if not traits.sees_later and asked in ("auto", "causal"):
        return CAUSAL
    if asked == "causal":
        raise no_decoder(traits.kind, name)
    if traits.sees_later and not traits.predicts_masked:
        raise no_decoder(traits.kind, name, "it has no head that predicts masked tokens")
    if isinstance(mask := mask_token(), str):
        raise (
            no_decoder(traits.kind, name, mask) if traits.sees_later else InputError(f"{name}: scoring {asked}: {mask}")
        )
    if not traits.sees_later and not traits.looks_both_ways:
        raise InputError(
            f"{name}: scoring {asked}: no attention mask makes a {traits.kind} look at later tokens; it is scored causally"
        )
    return replace(_PSEUDO[asked], is_decoder=not traits.sees_later)


def _mask_token(tokenizer: PreTrainedTokenizerBase, num_embeddings: int) -> str | int:
    """The id of the mask token, or why there is none to use."""
    mask: int | None = tokenizer.mask_token_id
    if mask is None:
        return "its tokenizer has no mask token"
    return mask if mask < num_embeddings else f"it has no embedding of its tokenizer's {tokenizer.mask_token}"


def has_query_stream(model: PreTrainedModel) -> bool:
    """Whether a model predicts from a second stream that does not see the token itself, as XLNet does (Yang et al. 2019)."""
    return {"perm_mask", "target_mapping"} <= inspect.signature(model.forward).parameters.keys()


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int | None]:
    """What a masked model is given before and after a text: `<s>` and `</s>`, or what its tokenizer has for them, such as
    `[CLS]` and `[SEP]` of BERT's. Raises InputError where nothing can begin a text."""
    names = ("cls_token_id", "bos_token_id", "eos_token_id"), ("sep_token_id", "eos_token_id")
    start, end = (
        next((one for name in these if (one := getattr(tokenizer, name)) is not None), None) for these in names
    )
    if start is None:
        raise InputError("its tokenizer has no token to begin a text with: neither CLS nor BOS nor EOS")
    return start, end


def attention_to_all(is_text: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(rows, 1, width, width): the mask by which every place looks at all of its row's text.

    Args:
        is_text: (rows, width) bool, False where a row is padded.
    """
    rows, width = is_text.shape
    mask = torch.zeros((rows, 1, 1, width), dtype=dtype, device=is_text.device)
    return mask.masked_fill_(~is_text[:, None, None], torch.finfo(dtype).min).expand(rows, 1, width, width)


@torch.no_grad()
def _looks_both_ways(model: PreTrainedModel) -> bool:
    """Whether a decoder's first place sees the last one when the attention mask lets it."""
    ids = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]], device=model.device) % _num_embeddings(model)
    try:
        both = model(ids, attention_mask=attention_to_all(torch.ones_like(ids, dtype=torch.bool), model.dtype))[0]
    except Exception as error:  # a model that takes no such mask
        if is_out_of_memory(error):
            raise
        return False
    return not torch.equal(both[0, :-1], both[1, :-1])


def _num_embeddings(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.num_embeddings)
