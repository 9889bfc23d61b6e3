"""Where no shape has what a budget asks for, the one that comes nearest: in parameters, share of embeddings and feed-forward
factor, each measured by how far off it may be.

No width is left out that could be nearer. Most are known to be further away before their parameters are counted, which takes
time: by their share of embeddings, or since a single layer has too many parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmeff.models.budget.design import Design
from lmeff.models.budget.shapes import TOLERANCE, WINDOW, Shapes, Width, array

_ROUNDING = 0.999
"""Of a bound that has to be below what it bounds."""


def why_none(shapes: Shapes) -> str:
    """The mistake, which names the nearest design."""
    recipe, budget = shapes.recipe, shapes.budget
    wanted = {"embedding_share": budget.embedding_share, "glu_factor": shapes.factor}
    wishes = [f"{key} {value:.3g}" for key, value in wanted.items() if value]
    wishes += [f"{name} {value}" for name, value in shapes.said.items()]
    text = (
        f"in multiples of {budget.multiple_of}, no '{recipe.model.family}' with {recipe.model_vocab_size:,} entries has"
        f" {budget.parameters:,} parameters (within 0.5%) and {', '.join(wishes)} (share and factor within a quarter)"
    )
    nearest = _Misses(shapes).nearest()
    return f"{text}; the nearest: {nearest.describe(budget.parameters)}" if nearest else text


@dataclass(frozen=True)
class _Misses:
    shapes: Shapes

    @property
    def _asked(self) -> int:
        return self.shapes.budget.parameters

    def nearest(self) -> Design | None:
        """Of all widths; those that may be nearest come first, until no other can be nearer."""
        nearest: Design | None = None
        for least, width in sorted((self._least(width), width) for width in self._widths()):
            if nearest and least > nearest.rank[0]:
                break
            for one in self.shapes.divisions(width):
                total = one.fixed + self.shapes.least_depth * (one.of_layer + self._inner(width)[0] * one.of_inner)
                if nearest and self._excess(total) > nearest.rank[0]:
                    continue
                nearest = min([*([nearest] if nearest else []), self._miss(one)], key=lambda design: design.rank)
        return nearest

    def _least(self, width: int) -> float:
        """How far a width is off at the least, whatever its layers."""
        if self._embedding_of_width is None:
            return 0.0
        embedding = self._embedding_of_width * width
        layers = self.shapes.least_depth * self.shapes.least_layer(width, self._inner(width)[0])
        least = self._excess(embedding + layers)
        if share := self.shapes.budget.embedding_share:
            # A number of parameters between that with the asked share and the asked one makes up for most.
            off = math.log(embedding / self._asked / share)
            least = max(least, _ROUNDING * off**2 / ((TOLERANCE / 1000) ** 2 + math.log(WINDOW) ** 2))
        return least

    def _excess(self, total: float) -> float:
        """How far all are off that have so many parameters or more."""
        return _ROUNDING * (max(0.0, math.log(total / self._asked)) / (TOLERANCE / 1000)) ** 2

    @cached_property
    def _embedding_of_width(self) -> float | None:
        """Parameters of the embeddings for each number of the width."""
        divisions = (one for width in self._widths() for one in self.shapes.divisions(width))
        first = next(divisions, None)
        return first.embedding / first.width if first else None

    def _miss(self, one: Width) -> Design:
        """The nearest of a width at which nothing is legal."""
        said = self.shapes.said.get("num_hidden_layers")
        inner = np.repeat(array(self._inner(one.width)), 2)
        each = one.of_layer + inner * one.of_inner
        around = np.maximum((self._asked - one.fixed) // each + np.arange(len(inner)) % 2, 1)
        depth = around if said is None else said + 0 * inner
        total = one.fixed + depth * each
        off = (np.log(total / self._asked) / (TOLERANCE / 1000)) ** 2
        off += self.shapes.distance(one, inner, depth, total) / math.log(WINDOW) ** 2
        return self.shapes.best(one, inner, depth, total, off)

    def _widths(self) -> Sequence[int]:
        """At least one that can be divided into heads."""
        if "hidden_size" in self.shapes.said:
            return [self.shapes.said["hidden_size"]]
        step, parameters = self.shapes.budget.multiple_of, 4 * self._asked
        last = max(min(math.isqrt(parameters), parameters // self.shapes.recipe.model_vocab_size), math.lcm(step, 64))
        return range(step, last + 1, step)

    def _inner(self, width: int) -> Sequence[int]:
        """Feed-forward widths that are near enough to the asked factor; where there are none, the multiples around it."""
        if near := self.shapes.inner_widths(width):
            return near
        step = self.shapes.budget.multiple_of
        below = int(width * (self.shapes.factor or self.shapes.recipe.model.usual_factor)) // step
        return [step * max(below, 1), step * (below + 1)]
