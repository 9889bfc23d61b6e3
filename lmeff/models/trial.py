"""A decoder that nobody here has read, tried before a step is trained."""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.models.causality import sees_later_tokens
from lmeff.models.dropout import use_stateless_dropout
from lmeff.recipe.wording import one_line

_LENGTH = 8


def check_decoder(model: PreTrainedModel, seed: int) -> None:
    """Raises InputError for a model that sees later tokens, one whose training would depend on more than seed, step and place
    in the batch, and one that does not run at all. The model and all random states stay as they are."""
    kind, key = type(model).__name__, "model.config"
    try:
        sees_later, is_random = sees_later_tokens(model), _is_random(model, seed)
    except InputError:
        raise
    except Exception as error:  # whatever kind of error a model makes of a shape that does not fit
        text = one_line(" ".join(f"{type(error).__name__}: {error}".split()), 250)
        raise InputError(
            f"{key}: a {kind} of this configuration fails when it reads {_LENGTH} tokens: {text}"
        ) from None
    if sees_later:
        raise InputError(
            f"{key}: in a {kind} of this configuration a token sees later ones; it cannot learn to predict them"
        )
    if is_random:
        values = model.config.to_dict().items()
        rates = [name for name, value in values if "drop" in name or "jitter" in name if value]
        leave = f"leave out {', '.join(rates)}" if rates else "train another model"
        raise InputError(
            f"{key}: a {kind} draws random numbers that depend on the micro-batch and would be others after a restart; {leave}"
        )


def leaves_parameters_unused(model: PreTrainedModel) -> bool:
    """Whether a token leaves parameters without a gradient: those that nothing uses, and those of experts that it is not sent
    to, which may be all in one micro-batch and not in the next. The model and all random states stay as they are."""
    embeddings: Any = model.get_input_embeddings()
    parameters = [one for one in model.parameters() if one.requires_grad]
    was_training = model.training
    with torch.random.fork_rng(devices=[]):
        total = model.train()(input_ids=torch.tensor([[embeddings.num_embeddings - 1]])).logits.sum()
    model.train(was_training)
    return any(one is None for one in torch.autograd.grad(total, parameters, allow_unused=True))


@torch.no_grad()
def _is_random(model: PreTrainedModel, seed: int) -> bool:
    """Whether a row has other outputs in training when it stands alone, or anything is drawn from the process's random state,
    although dropout modules do not do so any more."""
    tried = copy.deepcopy(model).train()
    place = use_stateless_dropout(tried, seed)
    embeddings: Any = model.get_input_embeddings()
    ids = torch.randint(embeddings.num_embeddings, (2, _LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        place.slots = range(2)
        together = tried(input_ids=ids).logits
        place.slots = [1]
        alone = tried(input_ids=ids[1:]).logits
        has_drawn = not torch.equal(before, torch.get_rng_state())
    noise = 1e-4 * float(together.abs().max())
    return has_drawn or not torch.allclose(alone, together[1:], rtol=0, atol=noise)
