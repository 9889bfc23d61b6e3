"""Log-probabilities of texts laid out as trees of prefixes: only the logits that are needed, one transfer at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from lmeff.evaluation.scorer.trees.onednn_linears import OneDnnLinears
from lmeff.evaluation.scorer.trees.prefix_tree import Layout, ScoredText, TreeBatch, lay_out
from lmeff.models.device import is_out_of_memory

Answer = tuple[float, bool]
"""The log-probability of a continuation in nats, and whether greedy decoding would give it."""

_LOGITS_BYTES = {"cpu": 24 << 20, "cuda": 1 << 30}
"""Logits held at once: on a CPU less than the 32 MiB from which on glibc asks the system for every block anew, on a GPU enough
for one large matrix product."""
_LOGITS_ROWS = {"cpu": 256}
"""Enough for a matrix product; with a small vocabulary their logits stay in the cache."""
_TOLERANCE = 2e-5
"""Between log-probabilities of a tree and of plain rows, of a model whose attention takes a tree. In nats a token."""


@dataclass(frozen=True)
class Pending:
    """What was asked of the device and may not have been computed yet."""

    layout: Layout
    log_probabilities: torch.Tensor
    """(edges,) float32."""
    greedy: torch.Tensor
    """(edges,) bool."""


class TreeScorer:
    """Scores layouts with a causal language model of transformers.

    Args:
        linears: linear layers computed with copies of their weights; default: all of the model that it can be done with. Of a
            model whose weights change, a scorer must be made anew.
    """

    def __init__(self, model: PreTrainedModel, linears: OneDnnLinears | None = None) -> None:
        self.linears = linears or OneDnnLinears(model.modules())
        self._body, self._head = model.base_model, model.get_output_embeddings()
        self._device, kind = model.device, model.device.type
        num_rows = _LOGITS_BYTES.get(kind, 1 << 28) // (4 * self._head.weight.shape[0])
        self._rows = max(1, min(num_rows, _LOGITS_ROWS.get(kind, num_rows)))

    @torch.no_grad()
    def start(self, layout: Layout) -> Pending:
        """Computes all batches of a layout, without waiting for a GPU."""
        with self.linears.at_work(), torch.autocast(self._device.type, enabled=False):
            scored = [self._score(batch) for batch in layout.batches]
        values, greedy = (torch.cat(parts) for parts in zip(*scored, strict=True))
        return Pending(layout, values, greedy)

    def score(self, layout: Layout) -> list[Answer]:
        """The answers of one layout, in the order of its requests."""
        return next(finish([self.start(layout)]))

    def _score(self, batch: TreeBatch) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self._hidden_states(batch)
        nodes = torch.from_numpy(batch.nodes).to(self._device, non_blocking=True)
        hidden = hidden.reshape(-1, hidden.shape[-1])[nodes]
        values, greedy = [], []
        for first in range(0, len(batch.nodes), self._rows):
            edges = slice(*np.searchsorted(batch.edge_nodes, (first, first + self._rows)))
            rows = torch.from_numpy(batch.edge_nodes[edges] - first).to(self._device, non_blocking=True)
            tokens = torch.from_numpy(batch.edge_tokens[edges]).to(self._device, non_blocking=True)
            before = hidden[first : first + self._rows]
            logits = self._head(before.to(self._head.weight.dtype))  # (rows, vocabulary)
            highest = logits.amax(dim=-1)
            greedy.append(_would_be_taken(logits, rows, tokens, logits[rows, tokens] == highest[rows]))
            wanted = self._wanted(before, logits, rows, tokens) - highest[rows].float()
            values.append(wanted - self._log_sum(logits, highest)[rows])
        return torch.cat(values), torch.cat(greedy)

    def _wanted(
        self, before: torch.Tensor, logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """(edges,) float32: the logits of the scored tokens, from (rows, hidden) and (rows, vocabulary)."""
        return logits[rows, tokens].float()

    def _log_sum(self, logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
        return log_sum(logits, highest)

    def _hidden_states(self, batch: TreeBatch) -> torch.Tensor:
        """(rows, width, hidden): each node's last hidden state."""
        number = torch.arange(batch.ends.shape[1], device=self._device)
        ends = torch.from_numpy(batch.ends).to(self._device, non_blocking=True)
        ends = torch.where(ends == 0, number + 1, ends)  # padding sees itself, so that nothing becomes NaN
        sees = (number[None, None, :] <= number[None, :, None]) & (number[None, :, None] < ends[:, None, :])
        mask = torch.zeros(sees.shape, dtype=self._body.dtype, device=self._device)
        mask.masked_fill_(~sees, torch.finfo(mask.dtype).min)
        return self._body(
            input_ids=torch.from_numpy(batch.input_ids).to(self._device, non_blocking=True),
            attention_mask=mask[:, None],
            position_ids=torch.from_numpy(batch.position_ids).to(self._device, non_blocking=True),
            use_cache=False,
        ).last_hidden_state


def log_sum(logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    """(rows,) float32: the log of the sum of the exponentials of logits less the highest of their row. Overwrites float32
    logits.

    Args:
        logits: (rows, vocabulary).
        highest: (rows,).
    """
    return logits.float().sub_(highest[:, None]).exp_().sum(dim=-1).log_()


def _would_be_taken(
    logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor, are_highest: torch.Tensor
) -> torch.Tensor:
    """(edges,) bool: which tokens greedy decoding takes, which is the first of those with the highest logit.

    `argmax` is slow on a CPU, so there only rows are looked at whose token is among the highest.
    """
    if logits.device.type != "cpu":
        return logits.argmax(dim=-1)[rows] == tokens
    (places,) = are_highest.nonzero(as_tuple=True)
    are_highest[places] = logits[rows[places]].argmax(dim=-1) == tokens[places]
    return are_highest


def finish(pending: Sequence[Pending]) -> Iterator[list[Answer]]:
    """The answers of each, in order, after one transfer from the device."""
    together = torch.cat([part for one in pending for part in (one.log_probabilities, one.greedy.float())])
    numbers, first = together.cpu().numpy(), 0
    for one in pending:
        num_edges, edges, starts = len(one.log_probabilities), one.layout.edges, one.layout.starts[:-1]
        values, greedy = numbers[first : first + num_edges], numbers[first + num_edges : first + 2 * num_edges]
        first += 2 * num_edges
        sums = np.add.reduceat(values[edges].astype(np.float64), starts)
        yield list(zip(sums.tolist(), np.minimum.reduceat(greedy[edges], starts).astype(bool).tolist(), strict=True))


_LOCAL = ("sliding_window", "window_size", "attention_window_size", "attention_chunk_size")
_LONGEST_TRIED = 160
"""Tokens: three such texts in a row are farther apart than the 256 places that common local attention sees."""


class Undecided(Exception):
    """A model whose predictions do not depend on what it reads, or are no numbers, shows nothing about its attention."""


@torch.no_grad()
def takes_trees(model: PreTrainedModel, max_length: int) -> bool:
    """Whether a model gives the nodes of a tree what it gives plain rows, tried on three texts.

    It does where attention follows the mask and the positions that are passed in, and the logits are the output embeddings
    times the last hidden states. It does not for recurrent models, attention to near places in the row only, relative biases
    by place, and scaled logits. Raises Undecided where these weights cannot tell.
    """
    config = model.config
    if config.is_encoder_decoder or model.get_output_embeddings() is None or _is_local(config, max_length):
        return False
    size, length = model.get_output_embeddings().weight.shape[0], min(max_length, _LONGEST_TRIED)
    tokens = np.random.default_rng(0).integers(0, size, 3 * length).tolist()
    half = length // 2
    texts = [
        tokens[:length],
        tokens[:half] + tokens[length + half : 2 * length],
        tokens[:1] + tokens[2 * length + 1 : 3 * length],
    ]
    requests: list[ScoredText] = [(text[:-1], text[1:]) for text in texts]
    try:
        in_one_row = lay_out(requests, texts_per_batch=3, row_length=3 * length)
        in_trees = [value for value, _ in TreeScorer(model).score(in_one_row)]
    except Exception as error:  # a body that takes no such mask or no positions
        if is_out_of_memory(error):
            raise
        return False
    plain = model(torch.tensor(texts, device=model.device), use_cache=False).logits.float().log_softmax(-1)
    if not plain.isfinite().all() or torch.equal(plain, plain[:1, :1].expand_as(plain)):
        raise Undecided
    in_rows = [plain[row, range(length - 1), text[1:]].sum().item() for row, text in enumerate(texts)]
    return bool(np.allclose(in_trees, in_rows, rtol=0, atol=_TOLERANCE * length))


def _is_local(config: PretrainedConfig, max_length: int) -> bool:
    """Whether a configuration says that attention reaches less far than the texts are long."""
    reaches = [getattr(config, name, None) for name in _LOCAL]
    kinds = [*(getattr(config, "layer_types", None) or ()), *(getattr(config, "attention_layers", None) or ())]
    if any(kind in ("global", "full_attention") for kind in kinds) and set(kinds) <= {"global", "full_attention"}:
        return False
    return any(isinstance(reach, int) and 0 < reach < 2 * max_length for reach in reaches)
