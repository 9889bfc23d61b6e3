"""Generating text token by token, each token with the probabilities that one pass over all the text before it gives.

transformers' `generate` puts padding on the left, gives positions, and keeps a cache of keys and values. Some families compute
something else then than in a plain pass: absolute positions count the padding, positions begin at 2 in a pass and at 0 in
`generate`, states read the padding. So it is tried on the model which of these may be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lmeff.models.context_length import context_length, longest_with_original_frequencies

_MAX_TRIED_TOKENS = 64
_TOLERANCE = 1e-4
"""How far logits that should be equal may differ, as a share of the difference between the highest and the lowest."""


@dataclass(frozen=True)
class DecodingMode:
    """What may be used to generate text with a model."""

    pads: bool
    """Prompts of different lengths may be in one batch."""
    batches: bool
    """Several texts may be in one batch."""
    caches: bool
    """`generate` may be used, which caches keys and values; else every token takes a pass over all of the text."""


_CACHING_MODES = (
    DecodingMode(pads=True, batches=True, caches=True),
    DecodingMode(pads=False, batches=True, caches=True),
    DecodingMode(pads=False, batches=False, caches=True),
)
"""The fastest first."""


class _ForcedTokens(LogitsProcessor):
    """Chooses given tokens, and keeps the logits that the model gave before each."""

    def __init__(self, tokens: torch.Tensor) -> None:
        """`tokens`: (rows, steps)."""
        self._tokens = tokens
        self.logits: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.logits.append(scores.float())
        token = self._tokens[:, len(self.logits) - 1]
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


@torch.inference_mode()
def find_decoding_mode(model: Any, prompts: Sequence[Sequence[int]], num_tokens: int) -> DecodingMode:
    """The fastest mode in which a model gives the logits of a plain pass. Tried with the shortest and the longest prompt and as
    many tokens as are generated after them, at most 64."""
    shortest, longest = min(prompts, key=len), max(prompts, key=len)
    limit = longest_with_original_frequencies(model.config)
    if limit is not None and len(longest) + num_tokens > limit:
        # The cached keys have other rotary frequencies than the text once it has grown longer.
        return DecodingMode(pads=False, batches=True, caches=False)
    steps = min(num_tokens, _MAX_TRIED_TOKENS)
    if (context := context_length(model.config)) is not None:
        steps = min(steps, context - len(shortest))
        longest = longest[: max(len(shortest), context - steps)]
    size = model.get_input_embeddings().num_embeddings
    forced = torch.randint(size, (2, steps), generator=torch.Generator().manual_seed(0)).to(model.device)
    other = torch.randint(size, (len(longest),), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [(shortest, forced[0]), (longest, forced[1]), (other, forced[0])]
    expected = [_logits_by_passes(model, prompt, tokens) for prompt, tokens in rows]
    for mode in _CACHING_MODES:
        batches = [[0, 1]] if mode.pads else [[1, 2], [0]] if mode.batches else [[0], [1]]
        if all(_agrees(model, [rows[row] for row in batch], [expected[row] for row in batch]) for batch in batches):
            return mode
    together = torch.stack([torch.tensor([*prompt, *tokens[:-1].tolist()]) for prompt, tokens in rows[1:]])
    logits = model(input_ids=together.to(model.device)).logits[:, len(longest) - 1 :].float()
    return DecodingMode(pads=False, batches=all(map(_are_equal, logits, expected[1:])), caches=False)


def _logits_by_passes(model: Any, prompt: Sequence[int], forced: torch.Tensor) -> torch.Tensor:
    """(steps, vocabulary): the logits for each of the tokens after the prompt, from one pass over all of the text."""
    ids = torch.cat([torch.tensor(prompt, device=model.device), forced[:-1]])
    return model(input_ids=ids[None]).logits[0, len(prompt) - 1 :].float()


def _agrees(model: Any, rows: Sequence[tuple[Sequence[int], torch.Tensor]], expected: Sequence[torch.Tensor]) -> bool:
    """Whether `generate` gives the expected logits when it is given these rows as one batch."""
    prompts, forced = zip(*rows, strict=True)
    processor = _ForcedTokens(torch.stack(forced))
    try:
        generate_tokens(model, prompts, len(forced[0]), processor, [], 0, _CACHING_MODES[0])
    except (IndexError, RuntimeError, TypeError, ValueError):  # a family that `generate` cannot handle
        return False
    return all(map(_are_equal, torch.stack(processor.logits, 1), expected))


def _are_equal(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    """Both (steps, vocabulary). Logits that are not numbers count as equal; whoever generates text with them is told."""
    spread = expected.amax(-1) - expected.amin(-1)
    return not ((logits - expected).abs().amax(-1) > _TOLERANCE * spread).any()


def generate_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    num_tokens: int,
    chooser: LogitsProcessor,
    ends: list[int],
    fill: int,
    mode: DecodingMode,
) -> list[list[int]]:
    """The tokens after each prompt, until every text has ended or has `num_tokens`.

    Args:
        chooser: keeps the logit of the next token of each row, and sets all others to minus infinity.
        ends: tokens that end a text.
        fill: padding before a shorter prompt, and after a text that has ended.
    """
    width = max(map(len, prompts))
    input_ids = torch.full((len(prompts), width), fill)
    attention_mask = torch.zeros_like(input_ids)
    for row, own in enumerate(prompts):
        input_ids[row, width - len(own) :] = torch.tensor(own)  # padding on the left: the next token follows the prompt
        attention_mask[row, width - len(own) :] = 1
    input_ids, attention_mask = input_ids.to(model.device), attention_mask.to(model.device)
    if not mode.caches:
        return _generate_by_passes(model, input_ids, num_tokens, chooser, ends, fill)
    config = GenerationConfig(
        max_new_tokens=num_tokens, do_sample=False, use_cache=True, eos_token_id=ends or None, pad_token_id=fill
    )
    # The model's own settings, such as a penalty, would be added to ours.
    before, model.generation_config = model.generation_config, config
    try:
        written = model.generate(
            input_ids,
            attention_mask=attention_mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([chooser]),
            synced_gpus=False,  # under ZeRO-3 it would wait for the other processes, which do not generate
        )
    finally:
        model.generation_config = before
    return written[:, width:].tolist()


def _generate_by_passes(
    model: Any, input_ids: torch.Tensor, num_tokens: int, chooser: LogitsProcessor, ends: list[int], fill: int
) -> list[list[int]]:
    """The same by plain passes, for prompts of equal length."""
    width, has_ended = input_ids.shape[1], torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    for _ in range(num_tokens):
        logits = model(input_ids=input_ids).logits[:, -1].float()
        token = chooser(input_ids, logits).argmax(-1).masked_fill(has_ended, fill)
        input_ids = torch.cat([input_ids, token[:, None]], dim=1)
        has_ended |= torch.isin(token, torch.tensor(ends, device=token.device, dtype=token.dtype))
        if ends and has_ended.all():
            break
    return input_ids[:, width:].tolist()
