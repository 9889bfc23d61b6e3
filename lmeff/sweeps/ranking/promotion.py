"""Which cases take the place of the baseline: those that are better by enough for certain, and cost no more.

The published rule (5% better perplexity than the baseline, no more latency or memory, the faster one of two alike) looks at
means alone, so it promotes noise. Here the whole simultaneous interval over seeds has to be beyond the gain that is asked
for, and what was not measured promotes nobody.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lmeff.analysis.statistics.simultaneous import Values, differences_from
from lmeff.errors import InputError
from lmeff.sweeps.ranking.costs import Cost
from lmeff.sweeps.ranking.section import Promote

Costs = Mapping[str, Sequence[Cost | None]]
"""Of the runs of every case."""


def promotion(
    rule: Promote, values: Values, costs: Costs, paired: bool, lower_is_better: bool, missing: Sequence[str] = ()
) -> dict[str, Any]:
    """What `promotion` is in `lmeff sweep rank --json`. `missing` are cases without a result that are still to come. Raises
    InputError for values of which no share can be taken."""
    found: dict[str, Any] = {"baseline": rule.baseline, "gain": rule.gain, "allowance": rule.allowance}
    if rule.baseline not in values:
        return {**found, "promoted": [], "rows": [], "why_none": f"the baseline {rule.baseline} has no result"}
    logs = {case: {seed: _log(value, case) for seed, value in of_case.items()} for case, of_case in values.items()}
    sign = 1 if lower_is_better else -1
    rows: list[dict[str, Any]] = []
    for case, (difference, low, high) in differences_from(logs, rule.baseline, paired).items():
        ends = (None, None) if low is None or high is None else sorted(_gain(one, sign) for one in (low, high))
        row: dict[str, Any] = {"case": case, "gain": _gain(difference, sign), "low": ends[0], "high": ends[1]}
        row |= _against_baseline(costs, case, rule.baseline)
        rows.append({**row, "reasons": _reasons(row, rule)})
    rows.sort(key=lambda row: -row["gain"])
    passing = [row for row in rows if not row["reasons"]]
    why_none = None if rows else "no other case has a result"
    if passing and missing:
        passing, why_none = [], f"{', '.join(missing)} may be better, and has no result yet"
    promoted = _chosen(passing, logs, paired, sign, rule.top)
    return {**found, "promoted": promoted, "rows": rows, "why_none": why_none}


def _log(value: float, case: str) -> float:
    if value <= 0:
        raise InputError(f"ranking.promote: {case} has {value:g}, of which no share can be taken; take another metric")
    return math.log(value)


def _gain(difference: float, sign: int) -> float:
    """The share by which a value is better than the baseline's, from the difference of their logarithms."""
    return sign * (1 - math.exp(difference))


def _against_baseline(costs: Costs, case: str, baseline: str) -> dict[str, float | None]:
    """By what share latency and memory are above the baseline's; None where one was not measured alike."""
    ours, theirs = (costs.get(name, ()) for name in (case, baseline))
    known = [cost for cost in (*ours, *theirs) if cost]
    is_alike = any(ours) and any(theirs) and len({cost.measured_on for cost in known}) == 1
    found: dict[str, float | None] = {"latency_change": None, "memory_change": None}
    if is_alike:
        latencies = [median(cost.latency_ms for cost in of_case if cost) for of_case in (ours, theirs)]
        found["latency_change"] = latencies[0] / latencies[1] - 1
        peaks = [[cost.peak_bytes for cost in of_case if cost and cost.peak_bytes] for of_case in (ours, theirs)]
        if all(peaks):
            found["memory_change"] = median(peaks[0]) / median(peaks[1]) - 1
    return found


def _reasons(row: Mapping[str, Any], rule: Promote) -> list[str]:
    """Why a case is not promoted."""
    reasons = []
    if row["low"] is None:
        reasons.append("without several seeds nothing says how certain the gain is")
    elif row["low"] < rule.gain:
        interval = f"{100 * row['low']:.3g}% to {100 * row['high']:.3g}%"
        reasons.append(f"a gain of {100 * rule.gain:g}% is not certain ({interval})")
    for what in ("latency", "memory"):
        change = row[f"{what}_change"]
        if change is None:
            reasons.append(f"no {what} beside the baseline's on one idle machine (lmeff sweep run --profile)")
        elif change > rule.allowance:
            reasons.append(f"{100 * change:.3g}% more {what}")
    return reasons


def _chosen(passing: Sequence[Mapping[str, Any]], logs: Values, paired: bool, sign: int, top: int) -> list[str]:
    """The best one; where others do not differ from it for certain, as many of them as `top` allows, the faster ones first."""
    if not passing:
        return []
    best = passing[0]["case"]
    behind = differences_from(logs, best, paired)
    alike = [row for row in passing if row["case"] == best or not _is_behind(behind[row["case"]], sign)]
    return [row["case"] for row in sorted(alike, key=lambda row: row["latency_change"])][:top]


def _is_behind(difference: tuple[float, float | None, float | None], sign: int) -> bool:
    _, low, high = difference
    return low is not None and high is not None and min(sign * low, sign * high) > 0
