"""Pseudo-log-likelihoods: each token is masked by itself, and predicted from those on both sides of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lmeff.evaluation.scorer.batch_size import BatchSize
from lmeff.evaluation.scorer.masked.masked_rows import MaskedRows
from lmeff.evaluation.scorer.trees.onednn_linears import OneDnnLinears
from lmeff.evaluation.scorer.trees.tree_scorer import Answer
from lmeff.evaluation.scorer.ways import attention_to_all
from lmeff.models.device import is_out_of_memory

_POSITIONS = {"cpu": 1 << 13, "cuda": 1 << 18}
"""Of a forward pass: on a CPU so few that activations stay in its cache."""
_TOLERANCE = 1e-5


class MaskedScorer:
    """Scores with the weights that a model has now. Of a model whose weights change, a scorer must be made anew.

    Args:
        is_decoder: of a hybrid (Charpentier and Samuel 2024), which looks at the whole row where its attention mask lets it,
            and predicts a token one place before it, as every decoder does.
    """

    def __init__(self, model: PreTrainedModel, batch_size: BatchSize, is_decoder: bool) -> None:
        self._model, self._batch_size, self._is_decoder = model, batch_size, is_decoder
        self._device, self._linears = model.device, OneDnnLinears(model.modules())
        pad = model.config.get_text_config().pad_token_id
        self._pad = pad if isinstance(pad, int) and pad >= 0 else 0
        self._gathers = self._head_takes_single_places()

    def score(self, masked: MaskedRows, at_most: int | None = None) -> list[Answer]:
        """The sum over each request's tokens, and whether all of them are what the model would say.

        Args:
            at_most: rows in one forward pass.
        """
        values, greedy = self._batch_size.with_room(lambda size: self._edges(masked, size), at_most)
        sums = np.add.reduceat(values, masked.starts)
        return list(zip(sums.tolist(), np.logical_and.reduceat(greedy, masked.starts).tolist(), strict=True))

    @torch.no_grad()
    def _edges(self, masked: MaskedRows, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(edges,) float64 and bool: of each scored token the log-probability, and whether it is the most probable one."""
        edges_by_row = np.argsort(masked.edge_rows, kind="stable")
        bounds = np.searchsorted(masked.edge_rows[edges_by_row], np.arange(len(masked.rows) + 1))
        edges, values, greedy = [], [], []
        with self._linears.at_work(), torch.autocast(self._device.type, enabled=False):
            for numbers in _batches(masked.rows, size, _POSITIONS.get(self._device.type, 1 << 16)):
                logits = self._predictions(*self._padded(masked, numbers))
                own = [edges_by_row[bounds[number] : bounds[number + 1]] for number in numbers]
                of_row = torch.from_numpy(np.repeat(np.arange(len(own)), list(map(len, own)))).to(self._device)
                edges.append(np.concatenate(own))
                tokens = torch.from_numpy(masked.edge_tokens[edges[-1]]).to(self._device)
                log_sums, best = logits.logsumexp(-1), logits.argmax(-1)
                values.append(logits[of_row, tokens] - log_sums[of_row])
                greedy.append(best[of_row] == tokens)
        places = np.argsort(np.concatenate(edges))
        return torch.cat(values).double().cpu().numpy()[places], torch.cat(greedy).cpu().numpy()[places]

    def _padded(self, masked: MaskedRows, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(rows, width) ids and whether they are text, and (rows,) the places to predict."""
        chosen = [masked.rows[number] for number in numbers]
        ids = np.full((len(chosen), max(map(len, chosen))), self._pad, dtype=np.int64)
        for row, one in zip(ids, chosen, strict=True):
            row[: len(one)] = one
        is_text = np.arange(ids.shape[1]) < np.array([len(one) for one in chosen])[:, None]
        arrays = ids, is_text, masked.places[numbers] - self._is_decoder
        given_ids, given_is_text, places = (torch.from_numpy(each).to(self._device) for each in arrays)
        return given_ids, given_is_text, places

    def _predictions(self, ids: torch.Tensor, is_text: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) float32: the logits at one place of each row."""
        if not self._gathers:
            return self._logits(ids, is_text)[torch.arange(len(places), device=places.device), places].float()
        with _at_places(self._model, places):
            return self._logits(ids, is_text)[:, 0].float()

    def _logits(self, ids: torch.Tensor, is_text: torch.Tensor) -> torch.Tensor:
        if self._is_decoder:
            mask = attention_to_all(is_text, self._model.dtype)
            return self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return self._model(input_ids=ids, attention_mask=None if is_text.all() else is_text.long()).logits

    @torch.no_grad()
    def _head_takes_single_places(self) -> bool:
        """Whether the model's head gives a place the same logits without the others beside it."""
        vocabulary = self._model.config.get_text_config().vocab_size
        ids = torch.arange(8, device=self._device).reshape(2, 4) % vocabulary
        is_text, places = torch.ones_like(ids, dtype=torch.bool), torch.tensor([1, 3], device=self._device)
        whole = self._logits(ids, is_text)[[0, 1], places]
        try:
            with _at_places(self._model, places):
                single = self._logits(ids, is_text)
        except Exception as error:  # a head that is made otherwise
            if is_out_of_memory(error):
                raise
            return False
        return single.shape[:2] == (2, 1) and torch.allclose(
            single[:, 0], whole, _TOLERANCE, _TOLERANCE, equal_nan=True
        )


@contextmanager
def _at_places(model: PreTrainedModel, places: torch.Tensor) -> Iterator[None]:
    """The head is given the last hidden state at one place of each row, (rows, 1, hidden), and none of the others."""

    def choose(module: torch.nn.Module, args: Any, output: Any) -> Any:
        hidden = output[0]
        chosen = hidden[torch.arange(len(places), device=places.device), places][:, None]
        if isinstance(output, tuple):
            return (chosen, *output[1:])
        output.last_hidden_state = chosen
        return output

    handle = model.base_model.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _batches(rows: Sequence[np.ndarray], size: int, positions: int) -> Iterator[list[int]]:
    """Numbers of rows of like length, long ones first, so that a batch that does not fit is the first one."""
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    first = 0
    while first < len(order):
        together = max(1, min(size, positions // len(rows[order[first]])))
        yield order[first : first + together]
        first += together
