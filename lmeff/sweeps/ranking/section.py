"""`ranking:` of a sweep: by what its cases are compared, and which of them end early."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from lmeff.formats.losses import UNITS
from lmeff.quantities import format_count
from lmeff.recipe.mistakes import mistakes_of
from lmeff.recipe.sections.fields import Count, Number, PositiveCount, Section
from lmeff.recipe.wording import did_you_mean, show
from lmeff.recipe.yaml_lines import Layer, Mistake

DEFAULT_METRIC = "dev_bits_per_byte"
"""The only one of held-out text that means the same with every vocabulary."""
HELD_OUT = (DEFAULT_METRIC, "dev_perplexity", *UNITS)
NO_DIRECTION = (
    "its results do not say whether higher or lower is better, so none is the best; take one that they have under"
    " higher_is_better"
)
BEST = "best"
MODES = {"prefix": "snapshot", "own_schedule": "restart"}
"""By what rungs are: the `anchors.mode` whose anchors are such rungs."""


class Margin(Section):
    """Ends a case that stays too far behind another one."""

    by: Annotated[Number, Field(gt=0)]
    """How far, in the metric's own unit."""
    than: str = BEST
    """Behind the best of the cases that are left, or behind one that is named, which then never ends early."""
    for_tokens: Count = 0
    """For how many tokens on end, at every anchor of them; 0: at one anchor."""


class Median(Section):
    """Ends a case whose best value so far is worse than the median of all cases' means so far (Golovin et al. 2017)."""


class Halving(Section):
    """Keeps the best share of the cases that are left (Jamieson and Talwalkar 2016), rounded up."""

    keep: Annotated[Number, Field(gt=0, lt=1)] = 0.5


class Kill(Section):
    at_tokens: Annotated[list[PositiveCount], Field(min_length=1)] | None = None
    """The rungs: anchors at which cases are compared. Default: all above 0 and before the last."""
    after_tokens: Count = 0
    """Below which no case ends, nor waits for others."""
    margin: Margin | None = None
    median: Median | None = None
    halving: Halving | None = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if not (self.margin or self.median or self.halving):
            yield "", "needs a rule: margin, median or halving"
        if self.halving and self.at_tokens is None:
            yield "halving", "needs kill.at_tokens, the anchors at which the cases become fewer"
        for before, after in zip(self.at_tokens or [], (self.at_tokens or [])[1:], strict=False):
            if after <= before:
                yield "at_tokens", f"must rise: {format_count(after)} follows {format_count(before)}"


class Promote(Section):
    """Which cases take the place of the baseline, as `lmeff sweep rank` says."""

    baseline: str
    """A case. It never ends early."""
    gain: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    """The share by which the metric must be better for certain."""
    allowance: Annotated[Number, Field(ge=0)] = 0.02
    """The share by which latency and memory may be above the baseline's: as much as two measurements of one model differ."""
    top: PositiveCount = 2
    """How many are promoted at the most, where several do not differ for certain."""


class Ranking(Section):
    metric: str = DEFAULT_METRIC
    """One of held-out text, or a task's: `TASK` (its accuracy) or `TASK:METRIC`."""
    rungs: Literal["prefix", "own_schedule"] | None = None
    """What an anchor is, at which cases are compared: `prefix`, a point of the whole run, or `own_schedule`, the end of a
    run with a schedule of its own."""
    kill: Kill | None = None
    promote: Promote | None = None

    @property
    def never_killed(self) -> set[str]:
        """Cases that others are compared with."""
        margin = self.kill.margin if self.kill else None
        return {*([margin.than] if margin else []), *([self.promote.baseline] if self.promote else [])} - {BEST}

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.metric.startswith("dev_") and self.metric not in HELD_OUT:
            near = did_you_mean(self.metric, HELD_OUT)
            yield "metric", f"must be {', '.join(HELD_OUT)} or TASK:NAME, not {show(self.metric)}{near}"
        if self.kill and not self.rungs:
            yield "kill", f"needs ranking.rungs, which says what cases are compared at: {' or '.join(MODES)}"
        if self.kill:
            yield from ((f"kill.{key}".rstrip("."), text) for key, text in self.kill.contradictions())


def read_ranking(layer: Layer, mistakes: list[Mistake]) -> Ranking:
    """The section of a sweep's file, with what is wrong in it by itself."""
    values = layer.values.get("ranking")
    if not isinstance(values, dict):
        if "ranking" in layer.values:
            mistakes.append(Mistake(("ranking",), f"must be a section with keys under it, not {show(values)}"))
        return Ranking()
    marks = {path[1:]: mark for path, mark in layer.marks.items() if path[:1] == ("ranking",) and len(path) > 1}
    try:
        ranking = Ranking.model_validate(values)
    except ValidationError as error:
        found = mistakes_of(error, values, marks, Ranking)
        mistakes += [Mistake(("ranking", *one.path), one.text, one.mark) for one in found]
        return Ranking()
    mistakes += [Mistake(("ranking", *key.split(".")), text) for key, text in ranking.contradictions()]
    return ranking
