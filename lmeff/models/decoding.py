"""Writing token after token so that each is predicted as one pass over the whole text before it would.

transformers' `generate` gives a model padding on the left, positions and a cache of keys and values, each of which some
families take in another way than a plain pass: absolute positions that count the padding, positions that begin at 2 in a pass
and at 0 in `generate`, states that read padding. So it is tried on the model which of it may be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lmeff.models.context_length import context_length, longest_of_fixed_positions

_MOST_STEPS = 64
"""Of the trial."""
_TOLERANCE = 1e-4
"""Between logits that should be equal, as a share of the difference between the highest and the lowest."""


@dataclass(frozen=True)
class Way:
    """How a model may be made to write."""

    pads: bool
    """Prompts of different lengths in one batch."""
    shares: bool
    """Several texts in one batch."""
    caches: bool
    """With `generate`, which keeps keys and values; else by a pass over all of the text for every token."""


_WAYS = (
    Way(pads=True, shares=True, caches=True),
    Way(pads=False, shares=True, caches=True),
    Way(pads=False, shares=False, caches=True),
)


class _Dictated(LogitsProcessor):
    """Chooses given tokens, and keeps what the model said before each."""

    def __init__(self, tokens: torch.Tensor) -> None:
        """`tokens`: (rows, steps)."""
        self._tokens = tokens
        self.said: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.said.append(scores.float())
        token = self._tokens[:, len(self.said) - 1]
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


@torch.inference_mode()
def find_way(model: Any, prompts: Sequence[Sequence[int]], num_tokens: int) -> Way:
    """The fastest way in which a model says the same as in a plain pass, tried with the shortest and the longest prompt and as
    many tokens as are written after them, at most 64."""
    shortest, longest = min(prompts, key=len), max(prompts, key=len)
    limit = longest_of_fixed_positions(model.config)
    if limit is not None and len(longest) + num_tokens > limit:
        # Keys in the cache were made with other frequencies than a longer text has.
        return Way(pads=False, shares=True, caches=False)
    steps = min(num_tokens, _MOST_STEPS)
    if (context := context_length(model.config)) is not None:
        steps = min(steps, context - len(shortest))
        longest = longest[: max(len(shortest), context - steps)]
    size = model.get_input_embeddings().num_embeddings
    dictated = torch.randint(size, (2, steps), generator=torch.Generator().manual_seed(0)).to(model.device)
    other = torch.randint(size, (len(longest),), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [(shortest, dictated[0]), (longest, dictated[1]), (other, dictated[0])]
    wanted = [_by_passes(model, prompt, tokens) for prompt, tokens in rows]
    for way in _WAYS:
        batches = [[0, 1]] if way.pads else [[1, 2], [0]] if way.shares else [[0], [1]]
        if all(_agrees(model, [rows[row] for row in batch], [wanted[row] for row in batch]) for batch in batches):
            return way
    together = torch.stack([torch.tensor([*prompt, *tokens[:-1].tolist()]) for prompt, tokens in rows[1:]])
    said = model(input_ids=together.to(model.device)).logits[:, len(longest) - 1 :].float()
    return Way(pads=False, shares=all(map(_are_equal, said, wanted[1:])), caches=False)


def _by_passes(model: Any, prompt: Sequence[int], dictated: torch.Tensor) -> torch.Tensor:
    """(steps, vocabulary): what one pass over the prompt and what follows it says of each token that follows."""
    ids = torch.cat([torch.tensor(prompt, device=model.device), dictated[:-1]])
    return model(input_ids=ids[None]).logits[0, len(prompt) - 1 :].float()


def _agrees(model: Any, rows: Sequence[tuple[Sequence[int], torch.Tensor]], wanted: Sequence[torch.Tensor]) -> bool:
    """Whether `generate` gives what passes give, when it is given these rows together."""
    prompts, dictated = zip(*rows, strict=True)
    said = _Dictated(torch.stack(dictated))
    try:
        write(model, prompts, len(dictated[0]), said, [], 0, _WAYS[0])
    except (IndexError, RuntimeError, TypeError, ValueError):  # a family that `generate` does not know how to serve
        return False
    return all(map(_are_equal, torch.stack(said.said, 1), wanted))


def _are_equal(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Of (steps, vocabulary). What is no number is told when a text is written."""
    spread = wanted.amax(-1) - wanted.amin(-1)
    return not ((found - wanted).abs().amax(-1) > _TOLERANCE * spread).any()


def write(
    model: Any,
    prompts: Sequence[Sequence[int]],
    num_tokens: int,
    chooser: LogitsProcessor,
    ends: list[int],
    fill: int,
    way: Way,
) -> list[list[int]]:
    """What is written after each prompt, until every text has ended or has `num_tokens`.

    Args:
        chooser: leaves the logit of the next token of each row, and sets all others to minus infinity.
        ends: tokens that end a text.
        fill: stands before a shorter prompt, and behind a text that has ended.
    """
    width = max(map(len, prompts))
    input_ids = torch.full((len(prompts), width), fill)
    attention_mask = torch.zeros_like(input_ids)
    for row, own in enumerate(prompts):
        input_ids[row, width - len(own) :] = torch.tensor(own)  # padding on the left: the next token follows the prompt
        attention_mask[row, width - len(own) :] = 1
    input_ids, attention_mask = input_ids.to(model.device), attention_mask.to(model.device)
    if not way.caches:
        return _write_by_passes(model, input_ids, num_tokens, chooser, ends, fill)
    config = GenerationConfig(
        max_new_tokens=num_tokens, do_sample=False, use_cache=True, eos_token_id=ends or None, pad_token_id=fill
    )
    # The model's own settings, such as a penalty, would be added to these.
    before, model.generation_config = model.generation_config, config
    try:
        written = model.generate(
            input_ids,
            attention_mask=attention_mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([chooser]),
        )
    finally:
        model.generation_config = before
    return written[:, width:].tolist()


def _write_by_passes(
    model: Any, input_ids: torch.Tensor, num_tokens: int, chooser: LogitsProcessor, ends: list[int], fill: int
) -> list[list[int]]:
    """For prompts of equal length: plain passes without padding."""
    width, has_ended = input_ids.shape[1], torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    for _ in range(num_tokens):
        logits = model(input_ids=input_ids).logits[:, -1].float()
        token = chooser(input_ids, logits).argmax(-1).masked_fill(has_ended, fill)
        input_ids = torch.cat([input_ids, token[:, None]], dim=1)
        has_ended |= torch.isin(token, torch.tensor(ends, device=token.device, dtype=token.dtype))
        if ends and has_ended.all():
            break
    return input_ids[:, width:].tolist()
