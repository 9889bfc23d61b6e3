"""The shapes among which a budget is solved: what is looked at, and what is better."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmeff.errors import InputError
from lmeff.models.budget.design import Design, said_fields, solved_fields
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import Model
from lmeff.recipe.sections.model.budget import Budget

Count = Callable[[Recipe], tuple[int, int]]
"""All parameters of a recipe's model, and those in its embeddings."""

TOLERANCE = 5
"""How far the number of parameters may be from what is asked, in thousandths."""
WINDOW = 1.25
"""By what factor share and feed-forward factor may be above or below what is asked."""
_USUAL_WIDTH_PER_LAYER, _WINDOW_OF_DEPTH = 32, 4


@dataclass(frozen=True)
class Width:
    """Models of one width and one division into heads. Their parameters are linear in depth, and in depth times feed-forward
    width."""

    heads: Mapping[str, int]
    width: int
    embedding: int
    fixed: int
    """Parameters outside of the layers."""
    of_layer: int
    """Of a layer, without those that grow with the feed-forward network."""
    of_inner: int
    """Of a layer for each number of the feed-forward width."""


@dataclass(frozen=True)
class Shapes:
    """All that a budget and the fields beside it leave open."""

    recipe: Recipe
    count: Count

    @cached_property
    def said(self) -> dict[str, int]:
        return said_fields(self.recipe.model)

    @cached_property
    def budget(self) -> Budget:
        assert self.recipe.model.budget is not None
        return self.recipe.model.budget

    @cached_property
    def limits(self) -> tuple[int, int]:
        """The least and the most parameters."""
        asked = self.budget.parameters
        return -(-asked * (1000 - TOLERANCE) // 1000), asked * (1000 + TOLERANCE) // 1000

    @cached_property
    def factor(self) -> float | None:
        """What is asked for; None where the feed-forward width is given, or there is none."""
        model = self.recipe.model
        if model.feed_forward is None or model.feed_forward in self.said:
            return self.budget.glu_factor
        return self.budget.glu_factor or model.usual_factor

    @cached_property
    def asks_for_depth(self) -> bool:
        """Whether width per layer decides, since nothing else would."""
        return self.budget.embedding_share is None and not {"hidden_size", "num_hidden_layers"} & set(self.said)

    def designs(self) -> Iterator[Design]:
        """The best design of every width that has one."""
        for width in self._widths():
            of_width = [design for one in self.divisions(width) if (design := self._best_of(one))]
            if of_width:
                yield min(of_width, key=lambda design: design.rank)  # of equal ones the most usual division

    def _best_of(self, one: Width) -> Design | None:
        inner, depth = self._with_so_many(one)
        total = one.fixed + depth * (one.of_layer + inner * one.of_inner)
        legal = self._is_near(one, inner, total)
        if not legal.any():
            return None
        inner, depth, total = inner[legal], depth[legal], total[legal]
        return self.best(one, inner, depth, total, self.distance(one, inner, depth, total))

    # ------------------------------------------------------------------ what is looked at

    def _widths(self) -> Sequence[int]:
        """Those whose embeddings may have the share, and whose layers may be few enough."""
        if "hidden_size" in self.said:
            return [self.said["hidden_size"]]
        (least, most), num_entries = self.limits, self.recipe.model_vocab_size
        first, last = 1.0, min(math.isqrt(most), most // num_entries)
        if share := self.budget.embedding_share:
            first = share / WINDOW * least / (2 * num_entries) - 1  # of two embeddings
            last = min(last, int(share * WINDOW * most / num_entries))
        if self.asks_for_depth:  # width / 128 layers at the least
            last = min(last, math.ceil((_USUAL_WIDTH_PER_LAYER * _WINDOW_OF_DEPTH * most) ** (1 / 3)))
        step = self.budget.multiple_of
        widths = range(step * max(math.ceil(first / step), 1), last + 1, step)
        return [width for width in widths if self.least_depth * self._least_layer_of(width) <= most]

    @property
    def least_depth(self) -> int:
        return self.said.get("num_hidden_layers", 1)

    def least_layer(self, width: int, inner: int) -> int:
        """Parameters that every layer of that width and feed-forward width has at the least: the square of the width, where no
        size of heads is given that makes it less, and two matrices of the feed-forward network. Said without counting."""
        heads_are_free = (
            "head_dim" in solved_fields(self.recipe.model) or getattr(self.recipe.model, "head_dim", None) is None
        )
        return (width * width if heads_are_free else 0) + 2 * width * inner

    def _least_layer_of(self, width: int) -> int:
        inner = self.inner_widths(width)
        return self.least_layer(width, inner[0] if inner else 0)

    def divisions(self, width: int) -> Iterator[Width]:
        """The legal divisions of a width into heads, the most usual one first: all of them where heads change the number of
        parameters, as in Mamba-2 and beside a fixed `num_key_value_heads`, else that one."""
        model = self.recipe.model
        first_total: int | None = None
        heads = solved_fields(model)[-1]
        inner = {model.feed_forward: 1} if model.feed_forward else {}
        for choice in [{heads: self.said[heads]}] if heads in self.said else model.head_choices(width):
            there = model.model_copy(update={"hidden_size": width, "num_hidden_layers": 1, **inner, **choice})
            if any(there.contradictions()):
                continue
            try:
                total, embedding = self._count(there)
            except InputError:  # what only the family knows to be wrong, such as heads of an odd number
                continue
            if total == first_total:
                return
            first_total = first_total or total
            each = self._count(there.model_copy(update={"num_hidden_layers": 2}))[0] - total
            of_inner = self._count(there.model_copy(update=dict.fromkeys(inner, 2)))[0] - total
            yield Width(choice, width, embedding, total - each, each - of_inner, of_inner)

    def _count(self, model: Model) -> tuple[int, int]:
        return self.count(self.recipe.model_copy(update={"model": model}))

    def inner_widths(self, width: int) -> Sequence[int]:
        """Feed-forward widths that are near enough to the asked factor; a zero where there is no such network."""
        model, step = self.recipe.model, self.budget.multiple_of
        if model.feed_forward is None:
            return [0]
        if model.feed_forward in self.said:
            return [self.said[model.feed_forward]]
        asked = width * (self.factor or model.usual_factor)
        return range(step * max(math.ceil(asked / WINDOW / step), 1), math.floor(asked * WINDOW) + 1, step)

    def _with_so_many(self, one: Width) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a feed-forward width and a depth that have the parameters."""
        least, most = self.limits
        inner = array(self.inner_widths(one.width))
        each = one.of_layer + one.of_inner * inner
        first, last = self._depths(one.width)
        firsts = np.maximum(-(-(least - one.fixed) // each), first)
        lasts = np.minimum((most - one.fixed) // each, last)
        num_depths = int((lasts - firsts).max(initial=-1)) + 1
        depth = firsts[:, None] + np.arange(max(num_depths, 0))
        row, column = np.nonzero(depth <= lasts[:, None])
        return inner[row], depth[row, column]

    def _depths(self, width: int) -> tuple[int, int]:
        """The least and the most layers that are legal."""
        if said := self.said.get("num_hidden_layers"):
            return said, said
        if self.asks_for_depth:
            usual = width / _USUAL_WIDTH_PER_LAYER
            return max(math.ceil(usual / _WINDOW_OF_DEPTH), 1), int(usual * _WINDOW_OF_DEPTH)
        return 1, self.budget.parameters

    # ------------------------------------------------------------------ what is better

    def _is_near(self, one: Width, inner: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Which have share and factor near enough."""
        near = np.ones(len(inner), dtype=bool)
        for asked, values in ((self.budget.embedding_share, one.embedding / total), (self.factor, inner / one.width)):
            if asked is not None:
                near &= (values <= asked * WINDOW) & (values >= asked / WINDOW)
        return near

    def distance(self, one: Width, inner: np.ndarray, depth: np.ndarray, total: np.ndarray) -> np.ndarray:
        distance = np.zeros(len(inner))
        if self.budget.embedding_share is not None:
            distance += np.log(one.embedding / total / self.budget.embedding_share) ** 2
        elif self.asks_for_depth:
            distance += np.log(one.width / depth / _USUAL_WIDTH_PER_LAYER) ** 2
        if self.factor is not None:
            distance += np.log(inner / one.width / self.factor) ** 2
        return distance

    def best(self, one: Width, inner: np.ndarray, depth: np.ndarray, total: np.ndarray, distance: np.ndarray) -> Design:
        off = np.abs(total - self.budget.parameters)
        rounded = np.round(distance, 12)  # so that the order is the same on every machine
        first = np.lexsort((depth, off, rounded))[0]
        feed_forward = self.recipe.model.feed_forward
        width_and_inner = {"hidden_size": one.width} | ({feed_forward: int(inner[first])} if feed_forward else {})
        return Design(
            fields={**width_and_inner, "num_hidden_layers": int(depth[first]), **one.heads},
            total=int(total[first]),
            embedding=one.embedding,
            factor=float(inner[first] / one.width) if feed_forward else None,
            is_tied=bool(getattr(self.recipe.model, "tie_word_embeddings", True)),
            rank=(float(rounded[first]), int(off[first]), one.width),
        )


def array(numbers: Sequence[int]) -> np.ndarray:
    if isinstance(numbers, range):  # which numpy would take one by one
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)
    return np.array(numbers, np.int64)
