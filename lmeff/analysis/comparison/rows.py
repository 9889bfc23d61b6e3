"""The differences on one task and what is in it: from scores of minimal pairs, from other results, and of held-out losses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmeff.analysis.comparison.conditions import Sides, results_of
from lmeff.analysis.comparison.estimates import Estimate, Level, Row
from lmeff.analysis.comparison.over_items import ParadigmDifferences, differences_of, flipped_differences, over_items
from lmeff.analysis.comparison.over_seeds import over_both, over_seeds
from lmeff.analysis.comparison.sides import Member
from lmeff.analysis.reading.comparable import same_conditions
from lmeff.analysis.reading.results import TaskResult
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import headline_metric
from lmeff.errors import InputError
from lmeff.intervals import SHARES, metric_interval

_COMPARED = ("pairs", "choices", "finetuning", "perplexity")
"""Kinds of results that say which model is better."""
_UNPAIRED = "of independent samples, as items were not recorded"


class _Part(NamedTuple):
    task: str
    level: Level


def has_pairs(sides: Sides, task: str) -> bool:
    """Whether every member has the scores of the pairs behind a task."""
    return all(
        set(member.run.paradigms(task)) <= member.anchor.scored_paradigms and len(member.anchor.pairs) > 0
        for member in sides.members
    )


def is_compared(sides: Sides, task: str) -> bool:
    """Whether what was measured of a task says which model is better."""
    return all(result.kind in _COMPARED for result in results_of(sides, task).values())


def parts_of(run: Run, task: str) -> Iterator[_Part]:
    """A task, the groups in it and the tasks in these, each once."""
    yield _Part(task, "overall")
    seen, waiting = {task}, list(run.subtasks.get(task, ()))
    while waiting:
        name = waiting.pop(0)
        if name not in seen:
            seen.add(name)
            yield _Part(name, "phenomenon" if run.subtasks.get(name) else "paradigm")
            waiting += run.subtasks.get(name, ())


# ---- minimal pairs


def pair_rows(sides: Sides, task: str, paired_seeds: bool) -> list[Row]:
    """The differences on a suite of minimal pairs. Raises InputError where the sides scored other pairs."""
    run = sides.a.members[0].run
    paradigms = paradigm_differences(sides, run.paradigms(task))
    generator = np.random.default_rng(0)
    is_needed = len({one.num_pairs for one in paradigms.values()}) > 1
    flipped = {name: flipped_differences(one, generator) for name, one in paradigms.items()} if is_needed else {}
    return [
        _pair_row(task, part, [paradigms[leaf] for leaf in run.paradigms(part.task)], flipped, paired_seeds)
        for part in parts_of(run, task)
    ]


def _pair_row(
    suite: str,
    part: _Part,
    paradigms: Sequence[ParadigmDifferences],
    flipped: Mapping[str, np.ndarray],
    paired_seeds: bool,
) -> Row:
    a, b = (np.mean([getattr(paradigm, side) for paradigm in paradigms], axis=0) for side in ("a", "b"))
    difference = math.fsum(paradigm.difference for paradigm in paradigms) / len(paradigms)
    items = over_items(paradigms, flipped)
    seeds = over_seeds(a, b, paired_seeds)
    return Row(
        suite=suite,
        task=part.task,
        level=part.level,
        metric="acc",
        a=float(a.mean()),
        b=float(b.mean()),
        difference=difference,
        num_paradigms=len(paradigms),
        num_pairs=sum(paradigm.num_pairs for paradigm in paradigms),
        num_items=sum(len(paradigm.sums) for paradigm in paradigms),
        num_a_better=sum(paradigm.num_a_better for paradigm in paradigms),
        num_b_better=sum(paradigm.num_b_better for paradigm in paradigms),
        items=items,
        seeds=seeds,
        both=over_both(difference, items, seeds) if seeds else None,
    )


def paradigm_differences(sides: Sides, paradigms: Sequence[str]) -> dict[str, ParadigmDifferences]:
    """By paradigm; raises InputError naming who scored other pairs."""
    frames = {member: _sorted_pairs(member, paradigms) for member in sides.members}
    first = frames[sides.a.members[0]]
    for member, frame in frames.items():
        if len(frame) != len(first) or not (frame[["task", "pair"]] == first[["task", "pair"]]).all(axis=None):
            raise InputError(
                f"{sides.names[member]} scored other pairs than A ({len(frame):,} and {len(first):,} pairs, or other numbers): "
                "they cannot be paired"
            )
    items = min(
        (frame["item"] for frame in frames.values()), key=lambda item: item.groupby(first["task"]).nunique().sum()
    )
    a, b = (np.stack([frames[member]["score"] for member in side.members]) for side in (sides.a, sides.b))
    rows_of = first.groupby("task", observed=True).indices
    found = {}
    for name in paradigms:
        rows = rows_of[name]
        found[name] = differences_of(name, a[:, rows], b[:, rows], items.to_numpy()[rows])
    return found


def _sorted_pairs(member: Member, paradigms: Sequence[str]) -> pd.DataFrame:
    pairs = member.anchor.pairs
    return pairs[pairs["task"].isin(paradigms)].sort_values(["task", "pair"], ignore_index=True)


# ---- other results


def metric_rows(sides: Sides, task: str, paired_seeds: bool) -> list[Row]:
    """The differences on a task of which there are scores, but not of each item."""
    rows = []
    for part in parts_of(sides.a.members[0].run, task):
        results = results_of(sides, part.task)
        if len(results) == len(sides.members):
            rows += [_metric_row(sides, task, part, metric, results, paired_seeds) for metric in _metrics(results)]
    return rows


def _metrics(results: dict[Member, TaskResult]) -> list[str]:
    """What the results of a task are compared by."""
    shared = set.intersection(*(set(result.metrics) for result in results.values()))
    first, *others = results.values()
    if first.kind != "perplexity":
        metric = headline_metric(shared)
        return [metric] if metric else []
    is_per_token = all(same_conditions(first, other) and first.num_tokens == other.num_tokens for other in others)
    wanted = ("bits_per_byte", "loss") if is_per_token else ("bits_per_byte",)
    return [metric for metric in wanted if metric in shared]


def _metric_row(
    sides: Sides, suite: str, part: _Part, metric: str, results: dict[Member, TaskResult], paired_seeds: bool
) -> Row:
    a, b = ([results[member].metrics[metric].value for member in side.members] for side in (sides.a, sides.b))
    num_samples = results[sides.a.members[0]].num_samples
    errors = [_mean_error(sides, letter, metric, results) for letter in "ab"]
    means = [math.fsum(side) / len(side) for side in (a, b)]
    items = None
    if errors[0] is not None and errors[1] is not None:
        items = independent(metric, means, [errors[0], errors[1]], num_samples)
    seeds = over_seeds(a, b, paired_seeds)
    difference = means[1] - means[0]
    return Row(
        suite=suite,
        task=part.task,
        level=part.level,
        metric=metric,
        a=means[0],
        b=means[1],
        difference=difference,
        num_pairs=results[sides.a.members[0]].num_examples,
        num_items=num_samples,
        items=items,
        seeds=seeds,
        both=over_both(difference, items, seeds) if items and seeds else None,
    )


def _mean_error(sides: Sides, letter: str, metric: str, results: dict[Member, TaskResult]) -> float | None:
    """The standard error over examples of a side's mean. All its members were asked the same, so that it is no smaller than
    theirs where they are right and wrong together: theirs is taken."""
    members = (sides.a if letter == "a" else sides.b).members
    errors = [results[member].metrics[metric].stderr for member in members]
    known = [error for error in errors if error is not None]
    return math.fsum(known) / len(known) if len(known) == len(errors) else None


def independent(
    metric: str, means: Sequence[float], errors: Sequence[float], num_samples: int | None
) -> Estimate | None:
    """The difference of two means over examples, as if the sides had been asked different ones: rather too wide, as the same
    examples are easy or hard for both.

    Of shares the interval is the hybrid of both score intervals (Newcombe 1998, "Interval estimation for the difference
    between independent proportions", method 10).
    """
    from scipy.special import ndtr

    stderr, difference = math.hypot(*errors), means[1] - means[0]
    intervals = [metric_interval(metric, mean, error, num_samples) for mean, error in zip(means, errors, strict=True)]
    if intervals[0] is None or intervals[1] is None:
        return None
    (low_a, high_a), (low_b, high_b) = intervals[0], intervals[1]
    low = difference - math.hypot(means[1] - low_b, high_a - means[0])
    high = difference + math.hypot(high_b - means[1], means[0] - low_a)
    p = float(2 * ndtr(-abs(difference) / stderr)) if stderr else (1.0 if difference == 0 else None)
    hybrid = " (Newcombe 1998)" if metric.partition(",")[0] in SHARES else ""
    return Estimate(stderr, low, high, p, f"interval {_UNPAIRED}{hybrid}", f"z test {_UNPAIRED}", num_samples or 0)
