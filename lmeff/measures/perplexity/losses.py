"""Loss, perplexity and bits per byte of text, by domain and over all.

A document is BOS, its text, EOS. The loss is in nats per predicted token. EOS is predicted, as in the held-out loss of
training, unless that is turned off (`score_end`), as in lm-eval's `loglikelihood_rolling`. Bits per byte and word perplexity
divide the sum over all predicted tokens by bytes before normalization and by words parted by white space; BOS and EOS count
no byte. Sums over tokens are in float64, everything before in float32. Standard errors are those of a ratio over documents
(Cochran 1977), since documents are what was drawn.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from lmeff.logs import is_quiet
from lmeff.measures.perplexity.text import HeldText
from lmeff.measures.perplexity.windows import Windows
from lmeff.models.context_length import longest_with_original_frequencies
from lmeff.models.loading import check_token
from lmeff.objectives.held_out import token_nats, window_logits
from lmeff.tokens.packing import position_ids

_LARGEST_EXPONENT = 700.0
_LOGIT_BYTES = {"cpu": 1 << 29, "cuda": 1 << 32}
"""What the logits of a batch may take."""
_BATCH_TOKENS = 1 << 15
_CHUNK_POSITIONS = 1024


@torch.inference_mode()
def token_losses(model: PreTrainedModel, windows: Windows, batch_size: int | None = None) -> np.ndarray:
    """Nats of every token, (tokens,) float64; 0 where nothing is scored.

    `batch_size` is the number of windows at once; by default what logits of a bounded size allow. Windows so long that a model
    computes others of their batch in another way are alone. Raises InputError for a token that the model has no embedding for,
    and ValueError naming the document when a loss is not finite.
    """
    check_token(int(windows.ids.max(initial=0)), model.get_input_embeddings().num_embeddings)
    losses = np.zeros(len(windows.ids))
    batches = list(_batches(model, windows, batch_size))
    for rows in tqdm(batches, "Scoring", unit="batch", disable=is_quiet() or None, leave=False):
        starts, sizes = windows.starts[rows], (windows.stops - windows.starts)[rows]
        places = starts[:, None] + np.arange(int(sizes.max()))
        inside = places < windows.stops[rows, None]
        predicted = (places >= windows.firsts[rows, None]) & inside
        places = np.where(inside, places, starts[:, None])
        predicted &= windows.is_scored[places]
        nats = _losses(model, windows, places, predicted)
        losses[places[predicted]] = nats
    bad = ~np.isfinite(losses)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise ValueError(f"document {int(windows.documents[place])}: the loss of a token is {losses[place]}")
    return losses


def _batches(model: PreTrainedModel, windows: Windows, batch_size: int | None) -> Iterator[np.ndarray]:
    """Windows of like size together, long ones first, so that a batch that does not fit is the first one."""
    sizes = windows.stops - windows.starts
    order = np.argsort(-sizes, kind="stable")
    row_bytes = 4 * model.config.get_text_config().vocab_size
    most = min(_BATCH_TOKENS, _LOGIT_BYTES.get(model.device.type, _LOGIT_BYTES["cpu"]) // row_bytes)
    together = longest_with_original_frequencies(model.config)
    start = 0
    while start < len(order):
        longest = int(sizes[order[start]])
        number = batch_size or max(1, most // longest)
        if together is not None and longest - 1 > together:
            number = 1
        yield order[start : start + number]
        start += number


def _losses(model: PreTrainedModel, windows: Windows, places: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Nats of the predicted tokens, in the order of `places[predicted]`. What stands behind a window's end is never seen, since
    the model looks only backwards."""
    ids = torch.from_numpy(windows.ids[places]).to(model.device)
    mask = torch.from_numpy(predicted[:, 1:]).to(model.device)
    positions = None
    if windows.begins is not None:
        begins = windows.begins[places]
        begins[:, 0] = True
        positions = torch.from_numpy(position_ids(begins)).to(model.device)[:, :-1]
    logits = window_logits(model, ids[:, :-1], positions).flatten(0, 1)
    parts = (values.split(_CHUNK_POSITIONS) for values in (logits, ids[:, 1:].flatten(), mask.flatten()))
    nats = [
        token_nats(chunk[is_predicted], target[is_predicted])
        for chunk, target, is_predicted in zip(*parts, strict=True)
    ]
    return torch.cat(nats).double().cpu().numpy()


def summarize(losses: np.ndarray, windows: Windows, text: HeldText) -> dict[str | None, dict[str, dict[str, float]]]:
    """`{domain: {"metrics": ..., "counts": ...}}`, over all text under None."""
    num_documents = len(text.lengths)
    nats = np.bincount(windows.documents, losses, num_documents)
    tokens = np.bincount(windows.documents, windows.is_scored, num_documents)
    groups = np.arange(num_documents) if text.groups is None else text.groups
    domains = np.array(text.domains, dtype=object)
    masks = {None: np.ones(num_documents, bool)} | {name: domains == name for name in sorted(set(text.domains))}
    return {
        name: _summary(nats[mask], tokens[mask], text.num_bytes[mask], text.num_words[mask], groups[mask])
        for name, mask in masks.items()
    }


def _summary(
    nats: np.ndarray, tokens: np.ndarray, num_bytes: np.ndarray, num_words: np.ndarray, groups: np.ndarray
) -> dict:
    """`groups`: equal ones are pieces of one document, which count as that."""
    _, groups = np.unique(groups, return_inverse=True)
    nats, tokens, num_bytes, num_words = (np.bincount(groups, part) for part in (nats, tokens, num_bytes, num_words))
    sum_nats, sum_tokens, sum_bytes, sum_words = (
        float(values.sum()) for values in (nats, tokens, num_bytes, num_words)
    )
    loss, per_byte = sum_nats / sum_tokens, sum_nats / math.log(2) / sum_bytes
    metrics = {
        "loss": loss,
        "perplexity": math.exp(min(loss, _LARGEST_EXPONENT)),
        "bits_per_byte": per_byte,
        "word_perplexity": math.exp(min(sum_nats / sum_words, _LARGEST_EXPONENT)),
    }
    if len(nats) > 1:
        metrics["loss_stderr"] = _ratio_stderr(nats, tokens)
        metrics["bits_per_byte_stderr"] = _ratio_stderr(nats / math.log(2), num_bytes)
    counts = {"documents": len(nats), "tokens": int(sum_tokens), "bytes": int(sum_bytes), "words": int(sum_words)}
    return {"metrics": metrics, "counts": {f"num_{unit}": count for unit, count in counts.items()}}


def _ratio_stderr(above: np.ndarray, below: np.ndarray) -> float:
    """Standard error of sum(above) / sum(below) over documents."""
    residuals = above - above.sum() / below.sum() * below
    return float(math.sqrt(len(above) / (len(above) - 1) * (residuals**2).sum()) / below.sum())
