"""Which cases end at a rung: functions of numbers alone, so that neither the order in which runs arrive there nor how many run
at a time decides anything."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from lmeff.quantities import format_tokens
from lmeff.sweeps.ranking.section import BEST, Halving, Kill, Margin

Values = Mapping[str, float]
"""By case; the mean over its seeds."""
History = Sequence[tuple[int, Values]]
"""The anchors up to a rung, each with the values of the cases that came there and had not ended."""


@dataclass(frozen=True)
class KillReason:
    """Why a case ended, with the numbers behind it."""

    tokens: int
    rule: str
    text: str
    numbers: Mapping[str, Any]

    def __str__(self) -> str:
        return f"killed at {format_tokens(self.tokens)} tokens by {self.rule}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "rule": self.rule, "text": self.text, **self.numbers}


@dataclass(frozen=True)
class Rung:
    """A rung at which it is decided who goes on."""

    tokens: int
    values: Values
    left_out: tuple[str, ...]
    """Cases that failed before they came here: nobody waits for them."""
    killed: Mapping[str, KillReason]


@dataclass(frozen=True)
class Decisions:
    """What follows from the values that there are."""

    rungs: tuple[Rung, ...] = ()
    """Those that are decided, one after the other."""
    open_tokens: int | None = None
    """The first rung that is not decided; None when all are."""
    missing: tuple[str, ...] = ()
    """The cases that have no value there yet."""
    killed: Mapping[str, KillReason] = field(default_factory=dict)
    arrived: frozenset[tuple[str, int]] = frozenset()
    """The runs that have a value at the open rung, by case and seed: they wait for the others."""


def decide(
    cases: Sequence[str],
    anchors: Sequence[int],
    rungs: Collection[int],
    rules: Kill,
    value: Callable[[str, int], float | None],
    has_failed: Callable[[str, int], bool] = lambda case, tokens: False,
    lower_is_better: bool = True,
    never: Collection[str] = (),
) -> Decisions:
    """Goes from rung to rung as far as all cases that are left have values, and applies the rules at each.

    Args:
        anchors: above 0, rising; the rungs are some of them.
        value: of a case at an anchor; None before it is there.
        has_failed: whether a case without a value at an anchor is not to be waited for. Where it is left out, it counts for
            nothing, also with what it had before: how much that is depends on when it is looked at.
        never: cases that do not end, whatever the rules say. The best one at a rung does not either.
    """
    sign = 1.0 if lower_is_better else -1.0
    living, history, decided = list(cases), list[tuple[int, Values]](), list[Rung]()
    killed: dict[str, KillReason] = {}
    for tokens in anchors:
        values = {case: one for case in living if (one := value(case, tokens)) is not None}
        history.append((tokens, values))
        if tokens not in rungs:
            continue
        left_out = tuple(case for case in living if case not in values and has_failed(case, tokens))
        missing = tuple(case for case in living if case not in values and case not in left_out)
        if missing:
            return Decisions(tuple(decided), tokens, missing, killed)
        ended: dict[str, KillReason] = {}
        if values and tokens >= rules.after_tokens:
            stay = {*never, min(values, key=lambda case: sign * values[case])}
            found = _ended_at(tokens, _without(left_out, history), rules, sign)
            ended = {case: killed for case, killed in found.items() if case not in stay}
        decided.append(Rung(tokens, values, left_out, ended))
        killed |= ended
        living = [case for case in living if case not in ended]
    return Decisions(tuple(decided), None, (), killed)


def _without(left_out: Collection[str], history: History) -> History:
    return [(at, {case: one for case, one in values.items() if case not in left_out}) for at, values in history]


def _ended_at(tokens: int, history: History, rules: Kill, sign: float) -> dict[str, KillReason]:
    """By every rule on its own; a case that several end is said to end by the first."""
    found: dict[str, KillReason] = {}
    if rules.halving:
        found |= by_halving(tokens, history[-1][1], rules.halving, sign)
    if rules.median is not None:
        found |= by_median(tokens, history, sign)
    if rules.margin:
        found |= by_margin(tokens, history, rules.margin, sign)
    return found


def by_margin(tokens: int, history: History, rule: Margin, sign: float = 1.0) -> dict[str, KillReason]:
    """Cases that are behind the best of those at the anchor, or behind the one that is named, by so much or more: at this
    rung, and at every anchor before it down to one that lies at least `for_tokens` back. `sign` is -1 where
    higher is better."""
    found = {}
    for case, value in history[-1][1].items():
        since = None
        for at, values in reversed(history):
            reference = _reference(values, rule.than, sign)
            if case not in values or reference is None or sign * (values[case] - reference) < rule.by:
                break
            since = at
        if since is not None and tokens - since >= rule.for_tokens:
            reference = _reference(history[-1][1], rule.than, sign)
            assert reference is not None
            behind = sign * (value - reference)
            whom = "the best" if rule.than == BEST else rule.than
            text = f"{value:.5g} is {behind:.3g} behind {whom} ({reference:.5g}), {rule.by:g} or more"
            text += f" since {format_tokens(since)}" if since < tokens else ""
            numbers = {"value": value, "than": rule.than, "reference": reference, "behind": behind, "by": rule.by}
            found[case] = KillReason(tokens, "margin", text, {**numbers, "since_tokens": since})
    return found


def _reference(values: Values, than: str, sign: float) -> float | None:
    if than != BEST:
        return values.get(than)
    return sign * min(sign * value for value in values.values()) if values else None


def by_median(tokens: int, history: History, sign: float = 1.0) -> dict[str, KillReason]:
    """Cases whose best value so far is worse than the median of all cases' means over the anchors so far: cases that have ended
    count with the anchors that they came to."""
    curves: dict[str, list[float]] = {}
    for _, values in history:
        for case, value in values.items():
            curves.setdefault(case, []).append(value)
    middle = median(fmean(curve) for curve in curves.values())
    found = {}
    for case in history[-1][1]:
        best = sign * min(sign * value for value in curves[case])
        if sign * (best - middle) > 0:
            text = (
                f"its best so far, {best:.5g}, is behind the median of {len(curves)} cases' means so far, {middle:.5g}"
            )
            found[case] = KillReason(tokens, "median", text, {"best": best, "median": middle, "num_cases": len(curves)})
    return found


def by_halving(tokens: int, values: Values, rule: Halving, sign: float = 1.0) -> dict[str, KillReason]:
    """All but the best share; among equal ones the first of the sweep stay."""
    order = sorted(values, key=lambda case: sign * values[case])
    num_kept = num_kept_by_halving(len(order), rule)
    found = {}
    for place, case in enumerate(order[num_kept:], start=num_kept + 1):
        text = f"{values[case]:.5g} is place {place} of {len(order)}, of which the best {num_kept} go on"
        text += f", the last with {values[order[num_kept - 1]]:.5g}"
        numbers = {"value": values[case], "place": place, "num_cases": len(order), "num_kept": num_kept}
        found[case] = KillReason(tokens, "halving", text, {**numbers, "last_kept": values[order[num_kept - 1]]})
    return found


def num_kept_by_halving(num_cases: int, rule: Halving) -> int:
    """At least one; a share such as 1/3, which no decimal is, is not rounded up to one more."""
    return max(1, math.ceil(rule.keep * num_cases - 1e-9))
