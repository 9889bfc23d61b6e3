"""How well a model predicts every training document: its mean nats a predicted token.

A document is scored alone, in windows of the length of training. Windows are batched in fixed shapes, whatever the number of
processes and their micro-batch, and each batch is scored by one process, so that scores do not depend on them. What is done is
kept in a file, from which a scoring that was killed goes on.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from lmeff.files import write_bytes
from lmeff.objectives.held_out import token_nats, window_logits
from lmeff.progress import shown
from lmeff.runs.signals import Interrupted
from lmeff.tokens import PAD_ID, TokenStream

_SHORTEST = 32
"""Shorter windows are filled up to so many tokens."""
_POSITIONS_OF_BATCH = 8192
"""Of a batch, one window at least. For 50,000 entries its logits take 1.6 GB in float32."""
_BATCHES_OF_ROUND = 64
"""After so many, processes exchange what they have, and it is kept."""


@dataclass(frozen=True)
class Windows:
    """All documents, cut into windows. A window overlaps the one before it by a token, so that every token but a document's
    first is predicted; in `apart` ones the first token of every window is not, as it was published."""

    documents: np.ndarray
    """(windows,) int64: the document of each, ascending."""
    starts: np.ndarray
    """(windows,) int64: first token of each in the training text."""
    sizes: np.ndarray
    """(windows,) int64: tokens of each."""
    length: int
    """Tokens of the longest possible one."""
    lengths: np.ndarray
    """(documents,) int64: tokens of each document."""
    are_apart: bool

    @classmethod
    def of(cls, lengths: np.ndarray, length: int, apart: bool = False) -> "Windows":
        stride = length if apart else length - 1
        counts = np.maximum(1, -(-(lengths if apart else lengths - 1) // stride))
        documents = np.repeat(np.arange(len(lengths)), counts)
        offsets = (np.arange(len(documents)) - (counts.cumsum() - counts)[documents]) * stride
        starts = (lengths.cumsum() - lengths)[documents] + offsets
        sizes = np.minimum(length, lengths[documents] - offsets)
        return cls(documents, starts, sizes, length, lengths, apart)

    def batches(self) -> list[tuple[int, np.ndarray]]:
        """(tokens that each window is filled up to, its windows with -1 for none): windows of about equal size together."""
        shapes = np.array([min(self.length, _shape(size)) for size in range(self.length + 1)])[self.sizes]
        batches = []
        for shape in np.unique(shapes).tolist():
            rows = np.flatnonzero(shapes == shape)
            each = max(1, _POSITIONS_OF_BATCH // shape)
            rows = np.concatenate([rows, np.full(-len(rows) % each, -1)])
            batches += [(shape, batch) for batch in rows.reshape(-1, each)]
        return batches

    def scores(self, nats: np.ndarray) -> np.ndarray:
        """(documents,) float64: mean nats a predicted token; where windows are `apart`, a token of the document, predicted or
        not. `nats` is (windows,)."""
        sums = np.bincount(self.documents, nats, len(self.lengths))
        predicted = self.lengths if self.are_apart else self.lengths - 1
        return sums / np.maximum(predicted, 1)

    def flops(self, forward_flops_per_token: Callable[[int], float]) -> float:
        """Of scoring all, what shorter windows are filled up with included."""
        return sum(rows.size * shape * forward_flops_per_token(shape) for shape, rows in self.batches())


def _shape(size: int) -> int:
    return max(_SHORTEST, 1 << (size - 1).bit_length()) if size > 1 else _SHORTEST


def _never() -> None:
    """Nobody asks a scoring to stop."""


def score_windows(
    model: torch.nn.Module,
    stream: TokenStream,
    windows: Windows,
    device: torch.device,
    kept: Path,
    key: str,
    check_stop: Callable[[], None] = _never,
) -> np.ndarray:
    """Nats of every window, (windows,) float64. Collective; every process is given all.

    Args:
        model: in evaluation mode, on `device`.
        kept: the file of what is done; one with another key is begun again.
        key: says what the scores are of: the model's weights, and the windows.
        check_stop: raises when the run was asked to stop; then all processes raise Interrupted.
    """
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    batches = windows.batches()
    nats, first = _kept(kept, key, len(windows.sizes), device)
    with shown("scoring the documents"):
        for begin in range(first, len(batches), _BATCHES_OF_ROUND):
            found = torch.zeros(len(windows.sizes) + 1, dtype=torch.float64, device=device)
            of_round = batches[begin : begin + _BATCHES_OF_ROUND]
            # Under ZeRO-3 a forward pass is a collective, so that all processes do equally many.
            for turn in range(-(-len(of_round) // world_size)):
                place = turn * world_size + rank
                shape, rows = of_round[min(place, len(of_round) - 1)]
                values = _score_batch(model, stream, windows, shape, rows, device)
                if place < len(of_round):
                    taken = torch.from_numpy(rows[rows >= 0]).to(device)
                    found[taken] = values[: len(taken)]
            try:
                check_stop()
            except Interrupted:
                found[-1] = 1
            if dist.is_initialized():
                dist.all_reduce(found)
            *of_windows, stop = found.tolist()
            nats += np.array(of_windows)
            done = begin + len(of_round)
            if rank == 0:
                _keep(kept, key, nats, done)
            if stop and done < len(batches):
                raise Interrupted
    return nats


@torch.no_grad()
def _score_batch(
    model: torch.nn.Module,
    stream: TokenStream,
    windows: Windows,
    shape: int,
    rows: np.ndarray,
    device: torch.device,
) -> torch.Tensor:
    """(rows,) float64."""
    sizes = np.where(rows < 0, 0, windows.sizes[rows])
    ids = np.full((len(rows), shape), PAD_ID, np.int64)
    ids[np.arange(shape) < sizes[:, None]] = stream.pieces(windows.starts[rows[rows >= 0]], sizes[rows >= 0])
    input_ids = torch.from_numpy(ids).to(device)
    logits = window_logits(model, input_ids, None)[:, :-1]
    nats = token_nats(logits.flatten(0, 1), input_ids[:, 1:].flatten()).reshape(len(rows), -1).double()
    is_predicted = torch.from_numpy(np.arange(1, shape) < sizes[:, None]).to(device)
    return torch.where(is_predicted, nats, 0.0).sum(1)


def _kept(path: Path, key: str, num_windows: int, device: torch.device) -> tuple[np.ndarray, int]:
    """What was done, and how many batches these are, as the first process finds it. Collective."""
    nats, done = np.zeros(num_windows), 0
    if (not dist.is_initialized() or dist.get_rank() == 0) and path.is_file():
        with np.load(path, allow_pickle=False) as found:
            if str(found["key"]) == key:
                nats, done = found["nats"], int(found["num_batches"])
    if dist.is_initialized():
        together = torch.from_numpy(np.append(nats, done)).to(device)
        dist.broadcast(together, 0)
        *values, done = together.tolist()
        nats, done = np.array(values), int(done)
    return nats, done


def _keep(path: Path, key: str, nats: np.ndarray, num_batches: int) -> None:
    content = io.BytesIO()
    np.savez(content, key=key, nats=nats, num_batches=num_batches)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
