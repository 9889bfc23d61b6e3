"""The shape for a budget: the one with a number of parameters that is nearest to the asked share of embeddings and feed-forward
factor.

The search is exact: it looks at every legal width, division into heads, feed-forward width and depth whose share and factor are
at most a quarter from what is asked. Of those with the asked number of parameters, within 0.5%, the best has the smallest

    log(share / asked)^2 + log(factor / asked)^2

so that missing either by the same percentage counts the same. Equal ones are ordered by how near the number of parameters is,
then by width, then by how usual the division into heads is. Where no share is asked, the first term is that of width per layer:
32 is usual, and four times as much or as little is legal.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmeff.errors import InputError
from lmeff.models.budget.design import Design, is_open, said_fields, solved_fields
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import Model
from lmeff.recipe.sections.model.budget import Budget

Count = Callable[[Recipe], tuple[int, int]]
"""All parameters of a recipe's model, and those in its embeddings."""

_TOLERANCE = 5
"""How far the number of parameters may be from what is asked, in thousandths."""
_WINDOW = 1.25
"""By what factor share and feed-forward factor may be above or below what is asked."""
_USUAL_WIDTH_PER_LAYER, _WINDOW_OF_DEPTH = 32, 4


def solve_budget(recipe: Recipe, count: Count) -> list[Design]:
    """The shape for the recipe's budget, and after it the best ones of other widths, the nearest first. Raises InputError,
    which names the nearest miss, where there is none."""
    search = _Search(recipe, count)
    designs = sorted(search.designs(), key=lambda design: design.rank)
    if not designs:
        raise InputError(f"model.budget: {search.why_none()}")
    return designs


def solve_with_other_tying(recipe: Recipe, count: Count) -> Design | None:
    """The shape that a recipe would have with the other `tie_word_embeddings`; None where there is none."""
    model = recipe.model
    if "tie_word_embeddings" not in type(model).model_fields or not is_open(model):
        return None
    other = model.model_copy(update={"tie_word_embeddings": not getattr(model, "tie_word_embeddings", False)})
    designs = _Search(recipe.model_copy(update={"model": other}), count).designs()
    return min(designs, key=lambda design: design.rank, default=None)


@dataclass(frozen=True)
class _Width:
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
class _Search:
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
        return -(-asked * (1000 - _TOLERANCE) // 1000), asked * (1000 + _TOLERANCE) // 1000

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
            of_width = [design for one in self._divisions(width) if (design := self._best_of(one))]
            if of_width:
                yield min(of_width, key=lambda design: design.rank)  # of equal ones the most usual division

    def _best_of(self, one: _Width) -> Design | None:
        inner, depth = self._with_so_many(one)
        total = one.fixed + depth * (one.of_layer + inner * one.of_inner)
        legal = self._is_near(one, inner, total)
        if not legal.any():
            return None
        inner, depth, total = inner[legal], depth[legal], total[legal]
        return self._best(one, inner, depth, total, self._distance(one, inner, depth, total))

    def why_none(self) -> str:
        """The mistake, with the design that is nearest in parameters, share and factor, each measured by how far off it may
        be."""
        model, wanted = self.recipe.model, {"embedding_share": self.budget.embedding_share, "glu_factor": self.factor}
        wishes = [f"{key} {value:.3g}" for key, value in wanted.items() if value]
        wishes += [f"{name} {value}" for name, value in self.said.items()]
        text = (
            f"in multiples of {self.budget.multiple_of}, no '{model.family}' with {self.recipe.model_vocab_size:,} entries has"
            f" {self.budget.parameters:,} parameters (within 0.5%) and {', '.join(wishes)} (share and factor within a quarter)"
        )
        nearest = self._nearest_miss()
        return f"{text}; the nearest: {nearest.describe(self.budget.parameters)}" if nearest else text

    def _nearest_miss(self) -> Design | None:
        """Of all widths; those whose share of embeddings is nearest come first, until no other can be nearer."""
        nearest: Design | None = None
        for least, width in sorted((self._least_miss(width), width) for width in self._widths_of_misses()):
            if nearest and least > nearest.rank[0]:
                break
            for one in self._divisions(width):
                if nearest and self._least_excess(one) > nearest.rank[0]:
                    continue
                nearest = min([*([nearest] if nearest else []), self._miss(one)], key=lambda design: design.rank)
        return nearest

    def _least_miss(self, width: int) -> float:
        """How far a width is off at the least, whatever its layers: a number of parameters between that with the asked share
        and the asked one makes up for most."""
        share = self.budget.embedding_share
        if share is None or self._embedding_of_width is None:
            return 0.0
        off = math.log(self._embedding_of_width * width / self.budget.parameters / share)
        return 0.999 * off**2 / ((_TOLERANCE / 1000) ** 2 + math.log(_WINDOW) ** 2)

    def _least_excess(self, one: _Width) -> float:
        """How far it is off at the least by its parameters, since it has a layer."""
        inner = (self._inner_widths(one.width) or self._inner_neighbors(one.width))[0]
        total = one.fixed + self.said.get("num_hidden_layers", 1) * (one.of_layer + inner * one.of_inner)
        return 0.999 * (max(0.0, math.log(total / self.budget.parameters)) / (_TOLERANCE / 1000)) ** 2

    @cached_property
    def _embedding_of_width(self) -> float | None:
        """Parameters of the embeddings for each number of the width."""
        divisions = (one for width in self._widths_of_misses() for one in self._divisions(width))
        first = next(divisions, None)
        return first.embedding / first.width if first else None

    def _miss(self, one: _Width) -> Design:
        """The nearest of a width at which nothing is legal."""
        asked, said = self.budget.parameters, self.said.get("num_hidden_layers")
        inner = np.repeat(_array(self._inner_widths(one.width) or self._inner_neighbors(one.width)), 2)
        each = one.of_layer + inner * one.of_inner
        depth = (
            np.maximum((asked - one.fixed) // each + np.arange(len(inner)) % 2, 1) if said is None else said + 0 * inner
        )
        total = one.fixed + depth * each
        off = (np.log(total / asked) / (_TOLERANCE / 1000)) ** 2
        return self._best(
            one, inner, depth, total, off + self._distance(one, inner, depth, total) / math.log(_WINDOW) ** 2
        )

    # ------------------------------------------------------------------ what is looked at

    def _widths(self) -> Sequence[int]:
        """Those whose embeddings may have the share; a layer has at least the square of the width."""
        if "hidden_size" in self.said:
            return [self.said["hidden_size"]]
        (least, most), num_entries = self.limits, self.recipe.model_vocab_size
        first, last = 1.0, min(math.isqrt(most), most // num_entries)
        if share := self.budget.embedding_share:
            first = share / _WINDOW * least / (2 * num_entries) - 1  # of two embeddings
            last = min(last, int(share * _WINDOW * most / num_entries))
        if self.asks_for_depth:  # width / 128 layers at the least
            last = min(last, math.ceil((_USUAL_WIDTH_PER_LAYER * _WINDOW_OF_DEPTH * most) ** (1 / 3)))
        step = self.budget.multiple_of
        return range(step * max(math.ceil(first / step), 1), last + 1, step)

    def _widths_of_misses(self) -> Sequence[int]:
        """At least one that can be divided into heads."""
        if "hidden_size" in self.said:
            return [self.said["hidden_size"]]
        step, parameters = self.budget.multiple_of, 4 * self.budget.parameters
        last = max(min(math.isqrt(parameters), parameters // self.recipe.model_vocab_size), math.lcm(step, 64))
        return range(step, last + 1, step)

    def _divisions(self, width: int) -> Iterator[_Width]:
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
            yield _Width(choice, width, embedding, total - each, each - of_inner, of_inner)

    def _count(self, model: Model) -> tuple[int, int]:
        return self.count(self.recipe.model_copy(update={"model": model}))

    def _inner_widths(self, width: int) -> Sequence[int]:
        """Feed-forward widths that are near enough to the asked factor; a zero where there is no such network."""
        model, step = self.recipe.model, self.budget.multiple_of
        if model.feed_forward is None:
            return [0]
        if model.feed_forward in self.said:
            return [self.said[model.feed_forward]]
        asked = width * (self.factor or model.usual_factor)
        return range(step * max(math.ceil(asked / _WINDOW / step), 1), math.floor(asked * _WINDOW) + 1, step)

    def _inner_neighbors(self, width: int) -> list[int]:
        """The multiples around the asked factor, for widths at which none is near enough."""
        step = self.budget.multiple_of
        below = int(width * (self.factor or self.recipe.model.usual_factor)) // step
        return [step * max(below, 1), step * (below + 1)]

    def _with_so_many(self, one: _Width) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a feed-forward width and a depth that have the parameters."""
        least, most = self.limits
        inner = _array(self._inner_widths(one.width))
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

    def _is_near(self, one: _Width, inner: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Which have share and factor near enough."""
        near = np.ones(len(inner), dtype=bool)
        for asked, values in ((self.budget.embedding_share, one.embedding / total), (self.factor, inner / one.width)):
            if asked is not None:
                near &= (values <= asked * _WINDOW) & (values >= asked / _WINDOW)
        return near

    def _distance(self, one: _Width, inner: np.ndarray, depth: np.ndarray, total: np.ndarray) -> np.ndarray:
        distance = np.zeros(len(inner))
        if self.budget.embedding_share is not None:
            distance += np.log(one.embedding / total / self.budget.embedding_share) ** 2
        elif self.asks_for_depth:
            distance += np.log(one.width / depth / _USUAL_WIDTH_PER_LAYER) ** 2
        if self.factor is not None:
            distance += np.log(inner / one.width / self.factor) ** 2
        return distance

    def _best(
        self, one: _Width, inner: np.ndarray, depth: np.ndarray, total: np.ndarray, distance: np.ndarray
    ) -> Design:
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


def _array(numbers: Sequence[int]) -> np.ndarray:
    if isinstance(numbers, range):  # which numpy would take one by one
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)
    return np.array(numbers, np.int64)
