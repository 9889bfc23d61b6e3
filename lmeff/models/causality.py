"""Whether a model sees the tokens behind a place, tried on the model itself.

A flag does not say: every GPT-NeoX has `is_decoder` False, and a model whose attention looks both ways may call itself a
decoder. So one token is changed, and the outputs at earlier places are compared.
"""

import copy
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.models.device import available_bytes, is_out_of_memory

_NUM_TOKENS = 8
_NOISE = 100 * torch.finfo(torch.float32).eps
"""As a share of the largest output: what two passes of equal shape may differ by though nothing was seen. Dense layers differ
by nothing; experts and kernels that add up in another order by a few of the last bits."""
_CLEAR = 30
"""So many times the noise is an influence."""
_SHARE = 1e-3
"""Of the influence that a token has on later places: less is no influence on earlier ones, but what is left of rounding."""
_ROUGH_CLEAR = 4
"""So many times its rounding, as a share of the largest output, is an influence in less than float32."""
_ROUGH_NONE, _ROUGH_SOME = 0.01, 0.3
"""Where a model can be tried in less than float32 alone: shares of the influence on later places up to which there is none on
earlier ones, and from which there is one. What lies between may be rounding or not."""


def sees_later_tokens(model: PreTrainedModel) -> bool:
    """Whether a token has any influence on the outputs before it, of a language model or of a body without a head.

    A model in less than float32 is tried as it is first, and in a float32 copy where that does not tell. Weights may be such
    that no token has an influence on any other (a fresh model whose projections are zero), or hold NaN. What a model may look
    at is then tried with other weights in the copy. Raises InputError where that does not tell either. Changes nothing, no
    random state either.
    """
    is_rough = model.dtype.itemsize < 4
    seen = _influences(model, may_fail=is_rough)
    found = (_judge_rough if is_rough else _judge)(seen) if seen else None
    if found is not None:
        return found
    if (other := _copy_in_float32(model)) is None:
        if seen and (found := _judge_without_copy(seen, model.dtype)) is not None:
            return found
        name = str(model.dtype).removeprefix("torch.")
        raise InputError(
            f"a {type(model).__name__} whose outputs in {name} do not tell whether it sees later tokens, and of which there"
            " can be no float32 copy here; load it with dtype=float32, unquantized and on one device"
        )
    if is_rough and (seen := _influences(other)) and (found := _judge(seen)) is not None:
        return found
    _redraw(other)
    seen = _influences(other)
    if seen is None or (found := _judge(seen)) is None:
        raise InputError(
            f"a {type(model).__name__} whose outputs do not tell whether it sees later tokens; its configuration or its"
            " weights are damaged"
        )
    return found


def check_causal(model: PreTrainedModel, name: object) -> None:
    """Raises InputError for a model whose predictions of a token would have seen it. `name`: what the user called it."""
    if sees_later_tokens(model):
        raise InputError(
            f"{name}: a {type(model).__name__} that is no decoder: later tokens change what it says of earlier ones, so it"
            " would see the tokens it is scored on; `lmeff finetune` and `lmeff profile` take it"
        )


@dataclass(frozen=True)
class _Influences:
    """How much the outputs changed at most when one token was changed."""

    earlier: float
    """At places before the token."""
    later: float
    largest: float
    """Of the outputs themselves."""
    rounding: float
    """Of one operation, as a share."""


def _influences(model: PreTrainedModel, may_fail: bool = False) -> _Influences | None:
    """In the model's own precision; None where the outputs are not finite. `may_fail`: None also where it cannot be run so."""
    ids = _tokens(model)
    last = ids.shape[1] - 1
    try:
        plain = _outputs(model, ids)
    except RuntimeError as error:  # such as a processor without half precision
        if not may_fail or is_out_of_memory(error):
            raise
        return None
    if not plain.isfinite().all():
        return None
    earlier, later = 0.0, 0.0
    for place in sorted({0, (last + 1) // 2, last}):
        changed = ids.clone()
        changed[0, place] = ids[0, place - 1] if place else ids[0, last]
        difference = (_outputs(model, changed) - plain).abs().amax(dim=-1)
        earlier = max(earlier, float(difference[:place].max())) if place else earlier
        later = max(later, float(difference[place + 1 :].max())) if place < last else later
    return _Influences(earlier, later, float(plain.abs().max()), torch.finfo(model.dtype).eps)


def _judge(seen: _Influences) -> bool | None:
    """Of outputs in float32; None where they show nothing."""
    noise = _NOISE * seen.largest
    if seen.earlier > max(noise, _SHARE * seen.later):
        # A little above the noise may be rounding of weights that hardly do anything.
        return True if seen.earlier > _CLEAR * noise else None
    return False if seen.later > _CLEAR * noise else None


def _judge_rough(seen: _Influences) -> bool | None:
    """In less than float32 rounding may look like an influence, so only outputs that stay the same to the last bit tell."""
    return False if seen.earlier == 0 and seen.later > _ROUGH_CLEAR * seen.rounding * seen.largest else None


def _judge_without_copy(seen: _Influences, dtype: torch.dtype) -> bool | None:
    if dtype.itemsize >= 4:
        return _judge(seen)
    if max(seen.earlier, seen.later) <= _ROUGH_CLEAR * seen.rounding * seen.largest:
        return None
    if seen.earlier <= _ROUGH_NONE * seen.later:
        return False
    return True if seen.earlier >= _ROUGH_SOME * seen.later else None


def _copy_in_float32(model: PreTrainedModel) -> PreTrainedModel | None:
    """None for a model that there can be no such copy of: a quantized one, one on several devices, one too large."""
    is_spread = len(set(getattr(model, "hf_device_map", {}).values())) > 1
    if is_spread or getattr(model, "is_quantized", False):
        return None
    room = available_bytes() if model.device.type == "cpu" else None
    if room is not None and 4 * sum(parameter.numel() for parameter in model.parameters()) > room:
        return None
    try:
        return copy.deepcopy(model).float()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


@torch.no_grad()
def _outputs(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """(sequence, width) float32: logits, or of a body the last hidden states."""
    was_training = model.training
    model.eval()
    try:
        with torch.autocast(model.device.type, enabled=False):
            return model(input_ids=ids)[0][0].float()
    finally:
        model.train(was_training)


def _tokens(model: PreTrainedModel) -> torch.Tensor:
    """(1, sequence): all different, none of them one that a configuration gives a meaning."""
    config = model.config.get_text_config()
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id")
    special = {getattr(config, name, None) for name in names}
    size = model.get_input_embeddings().num_embeddings
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0)).tolist()
    chosen = [token for token in order if token not in special] or order
    return torch.tensor([chosen[:_NUM_TOKENS]], device=model.device)


@torch.no_grad()
def _redraw(model: PreTrainedModel) -> None:
    """Gives every parameter a size with which each layer has its say."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            drawn /= parameter.shape[-1] ** 0.5
        else:
            drawn = 0.1 * drawn + (0 if name.endswith("bias") else 1)
        parameter.copy_(drawn)
