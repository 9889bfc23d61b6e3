"""Which case of a sweep is the best, from its result files, and how certain that is. No torch."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lmeff.analysis.reading.comparable import same_for
from lmeff.analysis.reading.held_out import same_held_out_text, same_loss, sections
from lmeff.analysis.reading.paths import read_one_run
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.statistics.simultaneous import Ranking, by_level, rank_cases
from lmeff.analysis.statistics.tidy_table import losses_of
from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.recipe.wording import did_you_mean
from lmeff.sweeps.cases import Case, Sweep
from lmeff.sweeps.ranking.costs import Cost, cost_of
from lmeff.sweeps.ranking.promotion import promotion
from lmeff.sweeps.ranking.section import DEFAULT_METRIC, HELD_OUT, NO_DIRECTION
from lmeff.sweeps.states import other_recipe, reasons_of_kills, state_of

_AMONG_SURVIVORS = "cases that were killed are not compared: what is certain here is so among those that are left"
_OTHER_TOKENS = "cases were trained on different numbers of tokens, which differences between them include"


@dataclass(frozen=True)
class _Measured:
    case: Case
    run: Run
    anchor: Anchor
    value: float


def rank_sweep(sweep: Sweep, metric: str | None = None) -> dict[str, Any]:
    """What `lmeff sweep rank --json` prints: the cases by the metric at the last anchor of their complete runs, the best first.

    `metric` is one of held-out text (`dev_...`) or `TASK:NAME`, a task's; `TASK` alone is its accuracy. Default: that of the
    sweep's file. Raises InputError for values that cannot be compared, and where there is none.
    """
    metric = metric or sweep.ranking.metric
    if metric.startswith("dev_") and metric not in HELD_OUT:
        raise InputError(
            f"--metric {metric}: must be {', '.join(HELD_OUT)} or TASK:NAME{did_you_mean(metric, HELD_OUT)}"
        )
    names = list(dict.fromkeys(case.name for case in sweep.cases))
    reasons, problems = reasons_of_kills(sweep)
    killed = {name: reason for name, reason in reasons.items() if name in names}
    measured, missing = [], []
    for case in sweep.cases:
        found = _measure(case, metric, killed.get(case.name))
        (missing.append(f"{case}: {found}") if isinstance(found, str) else measured.append(found))
    if not measured:
        raise InputError(f"{sweep.file}: no case has {metric} yet ({missing[0]})")
    _check_alike(measured, metric)
    values: dict[str, dict[int, float]] = {}
    for one in measured:
        values.setdefault(one.case.name, {})[one.case.seed] = one.value
    is_paired = len({sections(one.run, "corpus", "tokenizer", "batch", "curriculum") for one in measured}) == 1
    is_lower_better = metric.startswith("dev_") or not _is_higher_better(measured, metric)
    ranking = rank_cases(values, is_paired, is_lower_better)
    without = [name for name in names if name not in values and name not in killed]
    is_selected = any(name not in values for name in killed)
    latencies, of_latencies = _latencies(measured, ranking)
    order = {name: place for place, name in enumerate(sorted(latencies, key=lambda name: latencies[name]))}
    rows = sorted(ranking.rows, key=lambda row: (row.differs, order.get(row.name, 0)))  # ties alone change places
    cases = {case.name: case for case in sweep.cases}
    tokens = {one.anchor.document.nominal_tokens for one in measured}
    notes = [*([_OTHER_TOKENS] if len(tokens) > 1 else []), *([_AMONG_SURVIVORS] if is_selected else []), *of_latencies]
    notes += problems
    promotes = metric == sweep.ranking.metric
    if sweep.ranking.promote and not promotes:
        notes.append(f"ranking.promote is by {sweep.ranking.metric}, so nothing is said of it here")
    return {
        "format": 1,
        "sweep": sweep.name,
        "metric": metric,
        "lower_is_better": is_lower_better,
        "test": "Tukey's HSD" + (", within seeds" if ranking.is_paired else ""),
        "level": 0.05,
        "seed_sd": ranking.seed_sd,
        "degrees_of_freedom": ranking.degrees_of_freedom,
        "tokens": next(iter(tokens)) if len(tokens) == 1 else None,
        "rows": [
            {
                "case": row.name,
                "values": dict(cases[row.name].values),
                **_numbers(row.mean, row.num_seeds, row.behind, row.low, row.high, row.differs),
                "latency_ms": latencies.get(row.name),
            }
            for row in rows
        ],
        # A case without a result may be better than all that have one; of those that were killed, a rule has said enough.
        "winner": None if without else ranking.winner,
        "axes": _axes(sweep, values, is_paired, is_lower_better),
        "promotion": _promotion(sweep, measured, values, (is_paired, is_lower_better), without) if promotes else None,
        "missing": missing,
        "notes": notes,
    }


def _numbers(
    mean: float, num_seeds: int, behind: float, low: float | None, high: float | None, differs: bool
) -> dict[str, Any]:
    return {"mean": mean, "num_seeds": num_seeds, "behind": behind, "low": low, "high": high, "differs": differs}


def _measure(case: Case, metric: str, killed: str | None) -> _Measured | str:
    """The case's value; or why there is none."""
    if (state := state_of(case)) != "complete":
        return killed or state
    if changes := other_recipe(case):
        return f"trained with another recipe ({changes})"
    run = read_one_run(case.run.path)
    if not run.anchors:
        return "no revisions"
    anchor = run.anchors[-1]
    if metric.startswith("dev_"):
        value = losses_of(run, anchor).get(metric)
    else:
        task, _, name = metric.partition(":")
        result = anchor.results.tasks.get(task)
        score = result.metrics.get(name or "acc") if result else None
        value = score.value if score else None
    return f"no {metric} at {anchor.tokens_name}" if value is None else _Measured(case, run, anchor, float(value))


def _check_alike(measured: Sequence[_Measured], metric: str) -> None:
    """Raises InputError for two values that mean different things."""
    first = measured[0]
    for other in measured[1:]:
        if metric.startswith("dev_"):
            is_alike = same_held_out_text if metric == DEFAULT_METRIC else same_loss
            if is_alike(first.run, other.run):
                continue
            advice = (
                "with several vocabularies take all of the held-out text (evaluation.dev_tokens), and with several texts a"
                " task (--metric lmeff_blimp)"
                if metric == DEFAULT_METRIC
                else f"across vocabularies bits per byte can (--metric {DEFAULT_METRIC})"
            )
            text = f"{metric} is not of the same held-out text and tokens, so it cannot be compared; {advice}"
        else:
            task, _, name = metric.partition(":")
            ours, theirs = (one.anchor.results.tasks[task] for one in (first, other))
            if same_for(name or "acc")(ours, theirs):
                continue
            text = f"{metric} was not measured alike, so it cannot be compared"
        raise InputError(f"{first.case} and {other.case}: {text}")


def _is_higher_better(measured: Sequence[_Measured], metric: str) -> bool:
    """What the results of a task say. Raises InputError where they do not."""
    task, _, name = metric.partition(":")
    said = {one.anchor.results.tasks[task].higher_is_better(name or "acc") for one in measured}
    if said == {True} or said == {False}:
        return said == {True}
    raise InputError(f"--metric {metric}: {NO_DIRECTION}")


def _axes(
    sweep: Sweep, values: dict[str, dict[int, float]], paired: bool, lower: bool
) -> dict[str, list[dict[str, Any]]]:
    """For every axis of a full grid its values, each by the mean over all cases that have it. Nothing for a sweep of one axis,
    whose cases are its values, nor where combinations are missing, since values would differ in their company."""
    cases = {case.name: case for case in sweep.cases}
    keys = [key for key in next(iter(cases.values())).values if len({_level(case, key) for case in cases.values()}) > 1]
    num_levels = [len({_level(case, key) for case in cases.values()}) for key in keys]
    if len(keys) < 2 or math.prod(num_levels) != len(cases) or len(values) != len(cases):
        return {}
    found = {}
    for key in keys:
        levels = by_level(values, {name: _level(case, key) for name, case in cases.items()})
        ranked = rank_cases({str(level): of_level for level, of_level in levels.items() if of_level}, paired, lower)
        found[key] = [
            {"value": row.name, **_numbers(row.mean, row.num_seeds, row.behind, row.low, row.high, row.differs)}
            for row in ranked.rows
        ]
    return found


def _promotion(
    sweep: Sweep,
    measured: Sequence[_Measured],
    values: dict[str, dict[int, float]],
    settings: tuple[bool, bool],
    without: Sequence[str],
) -> dict[str, Any] | None:
    """Which cases take the place of the baseline; None where the sweep names none."""
    if sweep.ranking.promote is None:
        return None
    costs = {name: [_cost(one) for one in measured if one.case.name == name] for name in values}
    return promotion(sweep.ranking.promote, values, costs, *settings, without)


def _level(case: Case, key: str) -> Hashable:
    return str(case.values[key])


def _latencies(measured: Sequence[_Measured], ranking: Ranking) -> tuple[dict[str, float], list[str]]:
    """Median milliseconds for a short sequence of the cases that may be the best, where all of them were profiled alike on one
    machine; else none, and why."""
    tied = [row.name for row in ranking.rows if not row.differs]
    if len(tied) < 2:
        return {}, []
    profiles = {name: [_cost(one) for one in measured if one.case.name == name] for name in tied}
    lacking = [name for name, found in profiles.items() if not any(found)]
    if lacking:
        return {}, [f"ties are not broken by latency: no profile on an idle machine of {', '.join(lacking)}"]
    machines = {one.measured_on for found in profiles.values() for one in found if one}
    if len(machines) > 1:
        return {}, ["ties are not broken by latency: profiles are of different machines or settings"]
    return {name: median(one.latency_ms for one in found if one) for name, found in profiles.items()}, []


def _cost(one: _Measured) -> Cost | None:
    return cost_of(RunFolder(one.run.folder), (f"seed-{one.case.seed}", one.anchor.revision))
