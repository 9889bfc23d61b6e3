"""Which token a classifier goes by and on which side its batches are padded, tried on the model.

An example must be answered as it is alone, whatever it is padded to, and by what has seen all of it: in a model that sees no
later tokens the last token. transformers' classifiers go by the last token, the first or the last place of a row, by the
family they are of; a BERT that was trained as a decoder would be asked by its first token, which has seen nothing. For some
decoders, such as Mamba, transformers has no classifier: they get the head of the others.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from lmeff.errors import InputError
from lmeff.measures.finetuning.encoding import Side
from lmeff.models.causality import sees_later_tokens
from lmeff.models.context_length import context_length
from lmeff.models.loading import has_classifier

Pooling = Literal["first token", "last token", "all tokens"]
_NUM_TOKENS, _NUM_PADS = 6, 3
_TOLERANCE = 1e-4
"""Between answers that should be equal, as a share of the largest."""
_SIDES: tuple[Side, Side] = ("right", "left")


@dataclass(frozen=True)
class Classifier:
    """A model with a classification head, and what it goes by."""

    module: nn.Module
    pooling: Pooling
    side: Side
    """Where its batches are padded."""

    def describe(self) -> dict[str, Any]:
        """What a result says of it."""
        body: Any = self.module.body if isinstance(self.module, LastTokenClassifier) else self.module.base_model
        in_pooler = sum(one.numel() for name, one in body.named_parameters() if name.startswith("pooler."))
        num_parameters = sum(one.numel() for one in self.module.parameters())
        return {
            "head": type(self.module).__name__,
            "head_parameters": num_parameters - sum(one.numel() for one in body.parameters()) + in_pooler,
            "pooling": self.pooling,
            "padding": self.side,
        }


class LastTokenClassifier(nn.Module):
    """A linear head on the last token of an example, padded on the right, as the classifiers of decoders have it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.config, self.body = model.config, model.base_model
        config = model.config.get_text_config()
        self.score = nn.Linear(config.hidden_size, model.config.num_labels, bias=False)
        nn.init.normal_(self.score.weight, std=getattr(config, "initializer_range", 0.02))

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """`input_ids`, `attention_mask`, `token_type_ids`: (batch, sequence). The logits are (batch, labels)."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask, **segments)[0]
        last = attention_mask.sum(dim=1) - 1
        return SequenceClassifierOutput(
            logits=self.score(hidden[torch.arange(len(hidden), device=hidden.device), last])
        )


def find_pooling(model: PreTrainedModel, pad_id: int) -> Classifier:
    """The model itself, or its body under a head on the last token, with the side on which it is padded.

    Args:
        model: with transformers' classification head for its kind, or a language model of a kind for which there is none.

    Raises InputError for a model that sees later tokens and takes notice of padding on either side, or that has no classifier.
    """
    sees_later = sees_later_tokens(model.base_model)
    if not has_classifier(model.config):
        if sees_later:
            raise InputError(
                f"a {type(model).__name__} sees later tokens, and transformers has no classification head for its kind"
            )
        return Classifier(LastTokenClassifier(model), "last token", "right")
    if sees_later or _goes_by_last(model, pad_id):
        for side in _SIDES if sees_later else _SIDES[:1]:
            if _ignores_padding(model, pad_id, side):
                return Classifier(model, _pooling(model, pad_id), side)
    if sees_later:
        raise InputError(f"a {type(model).__name__} whose answers change with the padding of an example")
    return Classifier(LastTokenClassifier(model), "last token", "right")


def _pooling(model: PreTrainedModel, pad_id: int) -> Pooling:
    """Of which hidden states the answer is made: those that it has a gradient for."""
    hidden: list[torch.Tensor] = []
    handle = model.base_model.register_forward_hook(lambda module, inputs, outputs: hidden.append(outputs[0]))
    try:
        with torch.enable_grad():
            answers = _answers(model, _example(model, pad_id))
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(answers.abs().sum(), hidden[0])
    places = gradient[0].abs().amax(dim=-1).nonzero().flatten().tolist()
    if places == [0]:
        return "first token"
    return "last token" if places == [gradient.shape[1] - 1] else "all tokens"


@torch.no_grad()
def _goes_by_last(model: nn.Module, pad_id: int) -> bool:
    """Whether the last token of an example has a say in the answer."""
    ids = _example(model, pad_id)
    other = ids.clone()
    other[0, -1] = ids[0, 0]
    one, two = _answers(model, ids), _answers(model, other)
    if not one.isfinite().all():
        return True  # the trial will tell
    return bool((one - two).abs().max() > _TOLERANCE * one.abs().max())


@torch.no_grad()
def _ignores_padding(model: nn.Module, pad_id: int, side: Side) -> bool:
    ids = _example(model, pad_id)
    pads = ids.new_full((1, _NUM_PADS), pad_id)
    parts = (ids, pads) if side == "right" else (pads, ids)
    alone = _answers(model, ids)
    padded = _answers(model, torch.cat(parts, 1), torch.cat([(part != pad_id).long() for part in parts], 1))
    if not alone.isfinite().all():
        return True
    return bool((alone - padded).abs().max() <= _TOLERANCE * alone.abs().max())


def _example(model: Any, pad_id: int) -> torch.Tensor:
    """(1, sequence): different tokens, none of them the pad token."""
    room = context_length(model.config) or _NUM_TOKENS + _NUM_PADS
    size = model.get_input_embeddings().num_embeddings
    tokens = [token for token in range(size - 1, -1, -1) if token not in (pad_id, model.config.eos_token_id)]
    return torch.tensor([tokens[: max(2, min(_NUM_TOKENS, room - _NUM_PADS))]], device=model.device)


def _answers(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    was_training = model.training
    model.eval()
    try:
        return model(input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask).logits.float()
    finally:
        model.train(was_training)
