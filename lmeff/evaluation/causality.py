"""Whether a model sees the tokens behind a place, tried on the model itself.

A flag does not say: every GPT-NeoX has `is_decoder` False, and a model whose attention looks both ways may call itself a
decoder. So one token is changed, and the outputs at earlier places are compared.
"""

import copy

import torch
from transformers import PreTrainedModel

from lmeff.errors import InputError

_NUM_TOKENS = 8
_NOISE = 100 * torch.finfo(torch.float32).eps
"""As a share of the largest output: what two passes of equal shape may differ by though nothing was seen. Dense layers differ
by nothing; experts and kernels that add up in another order by a few of the last bits."""
_CLEAR = 30
"""So many times the noise is an influence."""
_SHARE = 1e-3
"""Of the influence that a token has on later places: less is no influence on earlier ones, but what is left of rounding."""


def sees_later_tokens(model: PreTrainedModel) -> bool:
    """Whether a token has any influence on the outputs before it, of a language model or of a body without a head.

    Weights may be such that no token has an influence on any other (a fresh model whose projections are zero), or hold NaN.
    What a model may look at is then tried with other weights in a copy of it. Raises InputError where that does not tell
    either. Changes nothing, no random state either.
    """
    found = _tried(model)
    if found is None:
        other = copy.deepcopy(model).float()
        _redraw(other)
        found = _tried(other)
    if found is None:
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


def _tried(model: PreTrainedModel) -> bool | None:
    """None where the outputs show nothing."""
    if model.dtype != torch.float32:
        model = copy.deepcopy(model).float()  # in bfloat16 rounding would look like an influence
    ids = _tokens(model)
    last = ids.shape[1] - 1
    plain = _outputs(model, ids)
    if plain is None or not plain.isfinite().all():
        return None
    noise = _NOISE * float(plain.abs().max())
    earlier, later = 0.0, 0.0
    for place in sorted({0, (last + 1) // 2, last}):
        changed = ids.clone()
        changed[0, place] = ids[0, place - 1] if place else ids[0, last]
        difference = (_outputs(model, changed) - plain).abs().amax(dim=-1)
        earlier = max(earlier, float(difference[:place].max())) if place else earlier
        later = max(later, float(difference[place + 1 :].max())) if place < last else later
    if earlier > max(noise, _SHARE * later):
        # A little above the noise may be rounding of weights that hardly do anything.
        return True if earlier > _CLEAR * noise else None
    return False if later > _CLEAR * noise else None


@torch.no_grad()
def _outputs(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor | None:
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
