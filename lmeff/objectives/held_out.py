"""Held-out loss: of training's anchors, when they are verified, and of perplexity.

Training's held-out text is the same at every anchor, and always cut in windows by position, also where the training text is
packed by best fit.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lmeff.objectives.labels import IGNORED
from lmeff.tokens import BOS_ID, PAD_ID, Tokens
from lmeff.tokens.held_out import held_out_sample
from lmeff.tokens.packing import position_ids


@dataclass(frozen=True)
class HeldOutLoss:
    loss: float
    """Nats per token that is predicted."""
    perplexity: float | None = None
    """Of causal losses alone."""
    bits_per_byte: float | None = None
    """Bits per byte of the text before normalization; `<s>` (where it is predicted) and `</s>` cost bits and count no byte. Of
    causal losses alone."""
    kind: str = "causal"
    """Losses of different kinds are not comparable, and have names of their own."""

    def fields(self) -> dict[str, float | None]:
        """As anchor.json has them."""
        if self.kind != "causal":
            return {"dev_loss": None, "dev_perplexity": None, "dev_bits_per_byte": None, self.name: self.loss}
        return {self.name: self.loss, "dev_perplexity": self.perplexity, "dev_bits_per_byte": self.bits_per_byte}

    @property
    def name(self) -> str:
        return "dev_loss" if self.kind == "causal" else f"dev_{self.kind}_loss"


@dataclass(frozen=True)
class HeldOutText:
    """Held-out documents one after the other, in windows that overlap by one token: every token but the very first is
    predicted exactly once, with up to `length - 1` tokens before it. When documents are kept apart, positions restart and
    nothing is seen from before a document's `<s>`, as in training, and no `<s>` is predicted."""

    windows: np.ndarray
    """(windows, length) int64."""
    labels: np.ndarray
    """(windows, length) int64, `IGNORED` where nothing is predicted."""
    num_bytes: int
    position_ids: np.ndarray | None = None
    """(windows, length) int64, restarting with every document; None when documents are not kept apart."""
    begins: np.ndarray | None = None
    """(windows, length) bool, where labels are drawn: as of `Pieces`."""
    keeps_documents_apart: bool = False
    """The same."""


def window_starts(num_tokens: int, length: int) -> np.ndarray:
    """First tokens of windows that overlap by one token, (windows,) int64: every token but the very first is predicted in
    exactly one of them."""
    return np.arange(max(1, -(-(num_tokens - 1) // (length - 1)))) * (length - 1)


def _sample_ids(tokens: Tokens, max_tokens: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Ids of text from all over the held-out documents, always the same, of about `max_tokens`; all of them, where that is no
    more. Also where a token may be predicted, and the bytes of the text. A stretch from within a document has `<s>` put in
    front, which is not predicted."""
    sample = held_out_sample(tokens.dev_documents, tokens.dev_pieces, max_tokens)
    ids, is_scored = [], []
    for start, size, has_begin, follows in zip(
        sample.starts, sample.lengths, sample.has_begin, sample.follows_end, strict=True
    ):
        begin = [] if has_begin else [BOS_ID]
        ids.append(np.concatenate([np.array(begin, np.int64), tokens.dev.slice(int(start), int(start + size))]))
        is_scored.append(np.ones(len(ids[-1]), bool))
        is_scored[-1][0] = follows
    return np.concatenate(ids), np.concatenate(is_scored), int(sample.num_bytes.sum())


def held_out_rows(tokens: Tokens, max_tokens: int, length: int, document_mask: bool) -> HeldOutText:
    """The same text in windows that do not overlap, for objectives that draw what they predict; the last one ends with
    padding."""
    ids, _, num_bytes = _sample_ids(tokens, max_tokens)
    windows = np.full((-(-len(ids) // length), length), PAD_ID, np.int64)
    windows.reshape(-1)[: len(ids)] = ids
    is_padding = windows == PAD_ID
    begins = (windows == BOS_ID) | (is_padding & ~np.roll(is_padding, 1, axis=1))
    begins[:, 0] = True
    labels = np.where(is_padding, IGNORED, windows)
    return HeldOutText(windows, labels, num_bytes, begins=begins, keeps_documents_apart=document_mask)


def held_out_text(tokens: Tokens, max_tokens: int, length: int, document_mask: bool = False) -> HeldOutText:
    """Text from all over the held-out documents, always the same, of about `max_tokens`; all of them, where that is no more.

    A stretch from within a document has `<s>` put in front, which is not predicted. With `document_mask` each document is kept
    apart from the others of its window.
    """
    ids, is_scored, num_bytes = _sample_ids(tokens, max_tokens)
    positions = window_starts(len(ids), length)[:, None] + np.arange(length)
    places = np.minimum(positions, len(ids) - 1)
    windows = ids[places]
    labels = np.where((positions < len(ids)) & is_scored[places], windows, IGNORED)
    labels[:, 0] = IGNORED
    if not document_mask:
        return HeldOutText(windows, labels, num_bytes)
    begins = windows == BOS_ID
    labels[begins] = IGNORED
    begins[:, 0] = True
    return HeldOutText(windows, labels, num_bytes, position_ids(begins))


def window_logits(model: torch.nn.Module, input_ids: torch.Tensor, position_ids: torch.Tensor | None) -> torch.Tensor:
    """Logits of windows, (windows, length, vocabulary): `[:, t]` predicts token t + 1. Positions that restart keep documents
    apart; None where a window is read as one text."""
    restarting = {} if position_ids is None else {"position_ids": position_ids}
    return model(input_ids=input_ids, **restarting, use_cache=False).logits


def token_nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each target, (targets,), in float32. `logits` is (targets, vocabulary)."""
    logits = logits.float()
    return logits.logsumexp(-1) - logits.gather(-1, targets[:, None])[:, 0]


@torch.no_grad()
def causal_sums(
    model: torch.nn.Module, text: HeldOutText, rows: np.ndarray, batch_size: int, device: torch.device
) -> torch.Tensor:
    """(nats, predicted tokens) summed over the windows `rows`, float64: this process's share.

    Under ZeRO-3 a forward pass is a collective, so every process must pass equally many rows; a row of -1 is a filler that
    counts nothing. Unlike `token_nats` a batch is summed in float32, as in every held-out loss that was ever recorded.
    """
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        input_ids = torch.from_numpy(text.windows[batch]).to(device)
        labels = torch.from_numpy(np.where(batch[:, None] < 0, IGNORED, text.labels[batch])).to(device)[:, 1:]
        positions = None if text.position_ids is None else torch.from_numpy(text.position_ids[batch]).to(device)
        logits = window_logits(model, input_ids, positions)[:, :-1].float()
        total[0] += cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        ).double()
        total[1] += (labels != IGNORED).sum()
    return total


def rows_of_rank(num_windows: int, rank: int, world_size: int) -> np.ndarray:
    """Every `world_size`-th window, filled up with -1 so that all ranks have equally many."""
    rows = np.arange(rank, num_windows, world_size)
    return np.concatenate([rows, np.full(math.ceil(num_windows / world_size) - len(rows), -1)])


def summarize(sums: torch.Tensor, text: HeldOutText) -> HeldOutLoss:
    """From the sums over all windows."""
    nats, count = sums.tolist()
    loss = nats / count
    return HeldOutLoss(loss, math.exp(min(loss, 700.0)), nats / math.log(2) / text.num_bytes)
