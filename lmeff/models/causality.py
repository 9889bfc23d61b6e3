"""Whether a model sees later tokens, tried on the model itself.

No flag of a configuration tells: every GPT-NeoX has `is_decoder` False, and a model whose attention looks both ways may call
itself a decoder. So one token is changed, and the outputs before and after it are compared with those of before.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.models.device import available_bytes, is_out_of_memory

_NUM_TOKENS = 8
_NOISE = 100 * torch.finfo(torch.float32).eps
"""As a share of the largest output: how far the outputs of two passes of equal shape may differ without any influence. Dense
layers give equal outputs; experts, and kernels that add up in another order, differ in the last few bits."""
_CLEARLY_ABOVE_NOISE = 30
"""A difference of so many times the noise is certainly an influence."""
_SHARE_OF_ROUNDING = 1e-3
"""As a share of the influence that a token has on later places: a smaller difference at earlier places is rounding."""
_CLEARLY_ABOVE_ROUNDING = 4
"""In less than float32: so many times the rounding of the largest output is certainly an influence."""
_LARGEST_SHARE_UNSEEN, _SMALLEST_SHARE_SEEN = 0.01, 0.3
"""For a model that can only be tried in less than float32: up to the first share of the influence on later places there is no
influence on earlier ones, and from the second share on there is one. Between them it may be rounding or not."""


def sees_later_tokens(model: PreTrainedModel) -> bool:
    """Whether a token has any influence on the outputs before it, of a language model or of a body without a head.

    A model in less than float32 is first tried as it is, and then, where that leaves it open, in a float32 copy. With some
    weights no token has an influence on any other (a fresh model whose projections are zero), others hold NaN: then the copy is
    tried with weights that are drawn anew. Raises InputError where that leaves it open, too. The model and all random states
    stay as they are.
    """
    is_rough = model.dtype.itemsize < 4
    influences = _influences(model, may_fail=is_rough)
    verdict = (_verdict_of_rough if is_rough else _verdict)(influences) if influences else None
    if verdict is not None:
        return verdict
    if (other := _copy_in_float32(model)) is None:
        if influences and (verdict := _verdict_without_copy(influences, model.dtype)) is not None:
            return verdict
        name = str(model.dtype).removeprefix("torch.")
        raise InputError(
            f"a {type(model).__name__} whose outputs in {name} do not tell whether it sees later tokens, and of which there"
            " can be no float32 copy here; load it with dtype=float32, unquantized and on one device"
        )
    if is_rough and (influences := _influences(other)) and (verdict := _verdict(influences)) is not None:
        return verdict
    _redraw(other)
    influences = _influences(other)
    if influences is None or (verdict := _verdict(influences)) is None:
        raise InputError(
            f"a {type(model).__name__} whose outputs do not tell whether it sees later tokens; its configuration or its"
            " weights are damaged"
        )
    return verdict


def check_causal(model: PreTrainedModel, name: object) -> None:
    """Raises InputError for a model that sees the very tokens that it is to predict. `name`: what the user called it."""
    if sees_later_tokens(model):
        raise no_decoder(type(model).__name__, name)


def no_decoder(kind: str, name: object, but: str | None = None) -> InputError:
    """What is said of a model that sees the very tokens that it is to predict.

    Args:
        kind: its class.
        but: why it cannot be scored by pseudo-log-likelihood either.
    """
    other = f"and {but}" if but else "`lmeff eval` scores it by pseudo-log-likelihood where it is a masked model"
    return InputError(
        f"{name}: a {kind} that is no decoder: later tokens change what it says of earlier ones, so it"
        f" would see the tokens it is scored on; {other}; `lmeff finetune` and `lmeff profile` take it"
    )


@dataclass(frozen=True)
class _Influences:
    """By how much the outputs differ when one token is changed."""

    earlier: float
    """The largest difference at places before the token."""
    later: float
    """The largest difference at places after it."""
    largest: float
    """The largest output, without its sign."""
    rounding: float
    """What one operation may round away, as a share of its result."""


def _influences(model: PreTrainedModel, may_fail: bool = False) -> _Influences | None:
    """Tried in the model's own precision. None where the outputs are not finite and, with `may_fail`, where this machine cannot
    compute in that precision."""
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


def _verdict(influences: _Influences) -> bool | None:
    """Whether outputs in float32 show that later tokens are seen; None where they show nothing."""
    noise = _NOISE * influences.largest
    if influences.earlier > max(noise, _SHARE_OF_ROUNDING * influences.later):
        # A difference of little more than the noise may come from weights that have hardly any effect.
        return True if influences.earlier > _CLEARLY_ABOVE_NOISE * noise else None
    return False if influences.later > _CLEARLY_ABOVE_NOISE * noise else None


def _verdict_of_rough(influences: _Influences) -> bool | None:
    """The same in less than float32, where rounding may look like an influence: only outputs that are equal to the last bit
    tell that later tokens are not seen."""
    enough = _CLEARLY_ABOVE_ROUNDING * influences.rounding * influences.largest
    return False if influences.earlier == 0 and influences.later > enough else None


def _verdict_without_copy(influences: _Influences, dtype: torch.dtype) -> bool | None:
    """The same where no float32 copy can be tried, so that the outputs in `dtype` have to do."""
    if dtype.itemsize >= 4:
        return _verdict(influences)
    enough = _CLEARLY_ABOVE_ROUNDING * influences.rounding * influences.largest
    if max(influences.earlier, influences.later) <= enough:
        return None
    if influences.earlier <= _LARGEST_SHARE_UNSEEN * influences.later:
        return False
    return True if influences.earlier >= _SMALLEST_SHARE_SEEN * influences.later else None


def _copy_in_float32(model: PreTrainedModel) -> PreTrainedModel | None:
    """None for a model that cannot be copied: a quantized one, one on several devices, one that is too large."""
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
    """(sequence, width) float32: logits, or the last hidden states of a body without a head."""
    was_training = model.training
    model.eval()
    try:
        with torch.autocast(model.device.type, enabled=False):
            return model(input_ids=ids)[0][0].float()
    finally:
        model.train(was_training)


def _tokens(model: PreTrainedModel) -> torch.Tensor:
    """(1, sequence): ids that are all different, without those that a configuration gives a meaning."""
    config = model.config.get_text_config()
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id")
    special = {getattr(config, name, None) for name in names}
    embeddings: Any = model.get_input_embeddings()
    order = torch.randperm(embeddings.num_embeddings, generator=torch.Generator().manual_seed(0)).tolist()
    chosen = [token for token in order if token not in special] or order
    return torch.tensor([chosen[:_NUM_TOKENS]], device=model.device)


@torch.no_grad()
def _redraw(model: PreTrainedModel) -> None:
    """Draws every parameter anew, in such a size that each layer has an effect on the outputs."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            drawn /= parameter.shape[-1] ** 0.5
        else:
            drawn = 0.1 * drawn + (0 if name.endswith("bias") else 1)
        parameter.copy_(drawn)
