"""Which tokens are masked, and what becomes of them: drawn by seed, step and place in the global batch alone, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lmeff.objectives.objective import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.stateless import stateless_seed, uniforms
from lmeff.tokens.tokenizer.bpe import SPECIAL_TOKENS
from lmeff.tokens.tokenizer.word_starts import WordStarts

HELD_OUT = "held-out"
"""The key of masks on held-out text, in place of a run's seed: all runs have the same."""


def is_ordinary(input_ids: np.ndarray) -> np.ndarray:
    """Where a token is text, and no special token or padding."""
    return input_ids >= len(SPECIAL_TOKENS)


def numbers_of(key: int | str, step: int, slots: Sequence[int], purpose: str, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) for each row, (rows, count)."""
    return uniforms([stateless_seed(key, step, slot, purpose) for slot in slots], count)


@dataclass(frozen=True)
class Masking:
    """Tokens are chosen in units: single tokens, whole words or spans. Every unit of a row is equally likely, so that the rate
    holds for every token. The number of units is the rate's share of them, rounded up or down so that it holds on average."""

    key: int | str
    """The run's seed, or `HELD_OUT`."""
    vocab_size: int
    """Of the tokenizer; `<mask>` is the id that follows."""
    rate: float
    final_rate: float
    num_steps: int
    """Over which the rate goes from the one to the other."""
    masked_share: float
    random_share: float
    words: WordStarts | None = None
    """Where words begin, when they are chosen whole."""
    max_span: int = 1
    """Spans have 1 to so many tokens, all lengths equally likely."""

    @classmethod
    def of_recipe(cls, recipe: Recipe, words: WordStarts | None = None) -> Self:
        settings: dict[str, Any] = recipe.objective.settings(recipe.objective_name)
        return cls(
            key=recipe.seed,
            vocab_size=recipe.tokenizer.vocab_size,
            rate=settings["mask_rate"],
            final_rate=settings["final_mask_rate"],
            num_steps=max(1, recipe.batch.clock.step_of(recipe.anchors.last_tokens)),
            masked_share=settings["masked_share"],
            random_share=settings["random_share"],
            words=words,
            max_span=settings.get("max_span", 1),
        )

    def for_held_out_text(self) -> Self:
        """The same at every step and for every seed, at the rate that the run ends with."""
        return replace(self, key=HELD_OUT, rate=self.final_rate)

    def rate_at(self, step: int) -> float:
        """The mask rate of a step, counted from 0."""
        return self.rate + (self.final_rate - self.rate) * min(1.0, step / self.num_steps)

    def draw(self, pieces: Pieces, may_be_chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, length) each: the ids that the model reads, int64, and where a token was chosen to be predicted, bool. In each
        row at least one is, where any may be."""
        units = self._units(pieces)
        chosen = self._chosen(pieces, units, may_be_chosen)
        length = pieces.input_ids.shape[1]
        fate = numbers_of(self.key, pieces.step, pieces.slots, "fate", length)
        if self.max_span > 1:
            # What becomes of a span is decided once, as in GPT-BERT.
            fate = np.take_along_axis(fate, units, 1)
        ordinary, first = self.vocab_size - len(SPECIAL_TOKENS), len(SPECIAL_TOKENS)
        random = numbers_of(self.key, pieces.step, pieces.slots, "token", length)
        replaced = np.where(fate < self.masked_share, self.vocab_size, first + (random * ordinary).astype(np.int64))
        is_replaced = chosen & (fate < self.masked_share + self.random_share)
        return np.where(is_replaced, replaced, pieces.input_ids), chosen

    def _units(self, pieces: Pieces) -> np.ndarray:
        """(rows, length) int64: which unit of its row each token belongs to, a number below the length."""
        rows, length = pieces.input_ids.shape
        if self.words is not None:
            begins = pieces.begins | self.words.begins(pieces.input_ids)
            return np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1)
        if self.max_span == 1:
            return np.broadcast_to(np.arange(length), (rows, length))
        drawn = numbers_of(self.key, pieces.step, pieces.slots, "spans", length)
        ends = (1 + (drawn * self.max_span).astype(np.int64)).cumsum(axis=1)
        is_end = np.zeros((rows, length + 1), np.int64)
        is_end[np.arange(rows)[:, None], np.minimum(ends, length)] = 1
        return is_end[:, :length].cumsum(axis=1)

    def _chosen(self, pieces: Pieces, units: np.ndarray, may_be_chosen: np.ndarray) -> np.ndarray:
        rows, length = units.shape
        is_unit = np.zeros((rows, length), bool)
        row, column = np.nonzero(may_be_chosen)
        is_unit[row, units[row, column]] = True
        num_units = is_unit.sum(axis=1)
        drawn = numbers_of(self.key, pieces.step, pieces.slots, "choice", length + 1)
        wanted = np.floor(self.rate_at(pieces.step) * num_units + drawn[:, length]).astype(np.int64)
        wanted = np.minimum(np.maximum(wanted, 1), num_units)
        ranks = np.where(is_unit, drawn[:, :length], 2.0).argsort(axis=1, kind="stable").argsort(axis=1)
        return np.take_along_axis(ranks < wanted[:, None], units, 1) & may_be_chosen
