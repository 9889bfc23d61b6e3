"""Text that a model writes after prompts, many at once, each as if it were alone.

Every text has random numbers of its own, made from the seed, its prompt and the number of the sample: one for each token, which
picks the token from the distribution's nucleus (Holtzman et al. 2020) by inverse transform. So what is written does not depend
on the batch, nor on which other prompts there are, but where a number falls within float32's rounding of a border.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from lmeff.errors import InputError
from lmeff.logs import is_quiet
from lmeff.models.context_length import context_length
from lmeff.models.decoding import DecodingMode, find_decoding_mode, generate_tokens
from lmeff.models.loading import check_token
from lmeff.tokens.tokenizer.document_ids import beginning_and_end, encoded


@dataclass(frozen=True)
class TextRequest:
    """A text that is to be written."""

    prompt: str
    sample: int | None
    """None: the most probable token each time."""


@dataclass(frozen=True)
class Sampling:
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Generated:
    text: str
    """What follows the prompt."""
    num_tokens: int
    """Without the EOS token."""
    finished: str
    """Why it ends: `eos`, `length` (as many tokens as were asked for) or `context` (as many as the model takes)."""
    top_probabilities: tuple[float, ...]
    """Of every step, that of EOS included: the probability of the most probable token, before temperature and nucleus."""
    entropies: tuple[float, ...]
    """Of every step, in nats."""


def uniform_numbers(seed: int, prompt: str, sample: int, count: int) -> np.ndarray:
    """The random numbers of a text, (count,) float64 in [0, 1). More of them begin with the same ones."""
    digest = hashlib.sha256(json.dumps([seed, prompt, sample]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).random(count)


class _Chooser(LogitsProcessor):
    """Picks the next token of every row; leaves its logit as it is and sets all others to minus infinity."""

    def __init__(self, uniforms: torch.Tensor, is_greedy: torch.Tensor, sampling: Sampling) -> None:
        """`uniforms`: (rows, steps); `is_greedy`: (rows,)."""
        self._uniforms, self._is_greedy, self._sampling = uniforms, is_greedy, sampling
        self.top_probabilities: list[torch.Tensor] = []
        self.entropies: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        log_probabilities = scores.float().log_softmax(-1)
        probabilities = log_probabilities.exp()
        step = len(self.entropies)
        self.top_probabilities.append(probabilities.amax(-1))
        self.entropies.append(-torch.where(probabilities == 0, 0, probabilities * log_probabilities).sum(-1))
        chosen = scores.argmax(-1)
        if not self._is_greedy.all():
            chosen = torch.where(self._is_greedy, chosen, self._drawn(scores, self._uniforms[:, step]))
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)

    def _drawn(self, scores: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """(rows,): from the fewest most probable tokens that together have `top_p`."""
        sorted_scores, order = (scores.double() / self._sampling.temperature).sort(dim=-1, descending=True, stable=True)
        probabilities = sorted_scores.softmax(-1)
        if torch.are_deterministic_algorithms_enabled():
            # Of a whole vocabulary a GPU's deterministic sums may take a table of all pairs of tokens.
            sums = probabilities.cpu().cumsum(-1).to(probabilities.device)
        else:
            sums = probabilities.cumsum(-1)
        size = (
            ((sums - probabilities) < self._sampling.top_p).sum(-1, keepdim=True).clamp(min=1)
        )  # a NaN is below nothing
        mass = sums.gather(-1, size - 1)
        place = torch.minimum((sums <= uniforms[:, None] * mass).sum(-1, keepdim=True), size - 1)
        return order.gather(-1, place)[:, 0]


def generate(
    model: Any, tokenizer: PreTrainedTokenizerBase, requests: Sequence[TextRequest], sampling: Sampling, batch_size: int
) -> list[Generated]:
    """What the model writes, in the order of the requests. A text begins with BOS and the prompt's tokens.

    Raises InputError for a prompt that leaves the model no room, ValueError when the model computes no finite probability.
    """
    bos, eos = beginning_and_end(tokenizer)
    prompts = list(dict.fromkeys(request.prompt for request in requests))
    ids = {prompt: [bos, *own] for prompt, own in zip(prompts, encoded(tokenizer, prompts), strict=True)}
    num_embeddings, context = model.get_input_embeddings().num_embeddings, context_length(model.config)
    budgets = {}
    for prompt, own in ids.items():
        check_token(max(own), num_embeddings)
        budgets[prompt] = min(sampling.max_new_tokens, context - len(own)) if context else sampling.max_new_tokens
        if budgets[prompt] < 1:
            raise InputError(f"the prompt {prompt!r} has {len(own)} tokens with BOS; the model takes {context} in all")
    ends = _ends(model, eos)
    written: dict[int, Generated] = {}
    mode = find_decoding_mode(model, list(ids.values()), max(budgets.values()))
    batches = list(_batches(requests, ids, budgets, batch_size, mode))
    for rows in tqdm(batches, "Writing", unit="batch", disable=is_quiet() or None, leave=False):
        chosen = [requests[row] for row in rows]
        answers = _generate_batch(model, tokenizer, chosen, ids, budgets[chosen[0].prompt], sampling, ends, mode)
        written.update(zip(rows, answers, strict=True))
    return [written[row] for row in range(len(requests))]


def _ends(model: Any, eos: int | None) -> list[int]:
    """Tokens that end a text: the tokenizer's EOS and what the model's own settings add to it."""
    own = model.generation_config.eos_token_id
    own = [] if own is None else own if isinstance(own, list) else [own]
    return sorted({*own, *([] if eos is None else [eos])})


def _batches(
    requests: Sequence[TextRequest], ids: dict, budgets: dict, batch_size: int, mode: DecodingMode
) -> Iterator[list[int]]:
    """Rows with equally much room together, since none may go past what the model takes; prompts of like length together, of
    equal length where the model cannot be given padding."""

    def kind(row: int) -> tuple[int, int]:
        prompt = requests[row].prompt
        return budgets[prompt], 0 if mode.pads else len(ids[prompt])

    order = sorted(range(len(requests)), key=lambda row: (kind(row), len(ids[requests[row].prompt])))
    size = batch_size if mode.batches else 1
    for _, group in groupby(order, key=kind):
        rows = list(group)
        yield from (rows[first : first + size] for first in range(0, len(rows), size))


@torch.inference_mode()
def _generate_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[TextRequest],
    ids: dict[str, list[int]],
    budget: int,
    sampling: Sampling,
    ends: list[int],
    mode: DecodingMode,
) -> list[Generated]:
    fill = next((token for token in (tokenizer.pad_token_id, *ends) if token is not None), 0)
    fill = fill if fill < model.get_input_embeddings().num_embeddings else 0
    uniforms = np.zeros((len(requests), budget))
    for row, request in enumerate(requests):
        if request.sample is not None:
            uniforms[row] = uniform_numbers(sampling.seed, request.prompt, request.sample, budget)
    is_greedy = torch.tensor([request.sample is None for request in requests], device=model.device)
    chooser = _Chooser(torch.from_numpy(uniforms).to(model.device), is_greedy, sampling)
    prompts = [ids[request.prompt] for request in requests]
    written = generate_tokens(model, prompts, budget, chooser, ends, fill, mode)
    top, entropies = (
        torch.stack(values, 1).cpu().tolist() for values in (chooser.top_probabilities, chooser.entropies)
    )
    return [
        _generated(
            tokenizer, ids[request.prompt], own, ends, budget < sampling.max_new_tokens, top[row], entropies[row]
        )
        for row, (request, own) in enumerate(zip(requests, written, strict=True))
    ]


def _generated(
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: list[int],
    written: list[int],
    ends: list[int],
    is_cut: bool,
    top: list[float],
    entropies: list[float],
) -> Generated:
    length = next((place for place, token in enumerate(written) if token in ends), len(written))
    steps = min(length + 1, len(written))
    if any(value != value for value in entropies[:steps]):
        raise ValueError("the model gives probabilities that are not finite")
    finished = "eos" if length < len(written) else "context" if is_cut else "length"
    text = _continuation(tokenizer, prompt_ids, written[:length])
    return Generated(text, length, finished, tuple(top[:steps]), tuple(entropies[:steps]))


def _continuation(tokenizer: PreTrainedTokenizerBase, prompt_ids: list[int], ids: list[int]) -> str:
    """The text of `ids` as it follows the prompt: decoded alone, a first word would lose the space before it."""
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    prompt, whole, alone = (
        str(tokenizer.decode(values, **options)) for values in (prompt_ids, [*prompt_ids, *ids], ids)
    )
    return whole.removeprefix(prompt) if whole.startswith(prompt) else alone
