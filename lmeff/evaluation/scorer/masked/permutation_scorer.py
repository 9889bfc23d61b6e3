"""Log-likelihoods of an XLNet (Yang et al. 2019), left to right through its masks.

An XLNet sees every token unless `perm_mask` hides it, and predicts from a second stream, that of queries, which knows the place
of a token but not the token. Here no place sees a later one, and no query its own token, so that one pass predicts every token
from those before it, in the order in which they stand.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.scorer.batch_size import BatchSize
from lmeff.evaluation.scorer.token_requests import TokenRequest
from lmeff.evaluation.scorer.trees.tree_scorer import Answer

_POSITIONS = {"cpu": 1 << 12, "cuda": 1 << 17}
"""Of a forward pass."""
_NUM_TRIED = 8
_NOISE = 1e-4
"""As a share of the largest prediction: a larger difference is no rounding."""


def left_to_right_logits(
    model: PreTrainedModel, ids: torch.Tensor, is_text: torch.Tensor, places: torch.Tensor
) -> torch.Tensor:
    """(rows, targets, vocabulary): predictions of the tokens at some places of each row, from the tokens before them.

    Args:
        ids: (rows, width).
        is_text: (rows, width) bool, False where a row is padded, on either side.
        places: (rows, targets); what stands for none is any place.
    """
    width = ids.shape[1]
    hides = torch.ones((width, width), dtype=model.dtype, device=ids.device).triu()  # a token and all after it
    return model(
        input_ids=ids,
        attention_mask=is_text.to(model.dtype),
        perm_mask=hides.expand(len(ids), width, width),
        target_mapping=torch.nn.functional.one_hot(places, width).to(model.dtype),
        use_mems=False,
    ).logits


class PermutationScorer:
    """Scores with a model that has a query stream. Raises InputError for one that sees what the masks should hide."""

    def __init__(self, model: PreTrainedModel, batch_size: BatchSize) -> None:
        self._model, self._batch_size, self._device = model, batch_size, model.device
        self._check_hidden()

    def score(self, requests: Sequence[TokenRequest], longest: int, at_most: int | None = None) -> list[Answer]:
        """The sum over each request's tokens, and whether all of them are what the model would say.

        Args:
            longest: tokens of a context and what is scored after it, together; a longer context loses its beginning.
            at_most: texts in one forward pass.
        """
        texts = [((context + scored)[-longest:], len(scored)) for _, context, scored in requests]
        return self._batch_size.with_room(lambda size: self._scored(texts, size), at_most)

    @torch.no_grad()
    def _scored(self, texts: Sequence[tuple[list[int], int]], size: int) -> list[Answer]:
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number][0]))
        positions, first = _POSITIONS.get(self._device.type, 1 << 15), 0
        answers: dict[int, Answer] = {}
        with torch.autocast(self._device.type, enabled=False):
            while first < len(order):
                together = max(1, min(size, positions // len(texts[order[first]][0])))
                numbers = order[first : first + together]
                answers |= zip(numbers, self._batch([texts[number] for number in numbers]), strict=True)
                first += together
        return [answers[number] for number in range(len(texts))]

    def _batch(self, texts: Sequence[tuple[list[int], int]]) -> list[Answer]:
        rows, width = len(texts), max(len(ids) for ids, _ in texts)
        most = max(count for _, count in texts)
        ids, is_text = np.zeros((rows, width), dtype=np.int64), np.zeros((rows, width), dtype=bool)
        places, is_scored = np.zeros((rows, most), dtype=np.int64), np.zeros((rows, most), dtype=bool)
        for row, (text, count) in enumerate(texts):
            ids[row, : len(text)], is_text[row, : len(text)] = text, True
            places[row, :count], is_scored[row, :count] = np.arange(len(text) - count, len(text)), True
        given = (torch.from_numpy(each).to(self._device) for each in (ids, is_text, places, is_scored))
        ids_given, is_text_given, places_given, is_scored_given = given
        logits = left_to_right_logits(self._model, ids_given, is_text_given, places_given).float()
        tokens = ids_given.gather(1, places_given)
        values = logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)
        sums = torch.where(is_scored_given, values, 0.0).double().sum(1)
        greedy = (~is_scored_given | (logits.argmax(-1) == tokens)).all(1)
        return list(zip(sums.tolist(), greedy.tolist(), strict=True))

    @torch.no_grad()
    def _check_hidden(self) -> None:
        """Changes a token in the middle: predictions up to its own place must not change."""
        vocabulary = self._model.config.vocab_size
        ids = torch.arange(_NUM_TRIED, device=self._device)[None] % vocabulary
        other, changed = ids.clone(), _NUM_TRIED // 2
        other[0, changed] = ids[0, changed - 1]
        is_text, places = torch.ones_like(ids, dtype=torch.bool), torch.arange(1, _NUM_TRIED, device=self._device)[None]
        plain, after = (left_to_right_logits(self._model, each, is_text, places)[0] for each in (ids, other))
        difference = (plain - after)[:changed].abs().max()
        if difference > _NOISE * plain.abs().max():
            kind = type(self._model).__name__
            raise InputError(f"a {kind} sees tokens that its masks hide, so it cannot be scored left to right")
