"""How far the same recipe comes out elsewhere with another seed: means over seeds, with their t interval."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmeff.analysis.reading.comparable import clusters, same_conditions, same_for
from lmeff.analysis.reading.groups import Group
from lmeff.analysis.reading.held_out import same_held_out_text, same_loss
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.statistics.over_seeds import mean_intervals
from lmeff.intervals import cut_off, mean_interval
from lmeff.quantities import format_tokens

COLUMNS = ("nominal_tokens", "task", "metric", "num_seeds", "mean", "low", "high", "bootstrap_low", "bootstrap_high")
SEED_COLUMNS = {
    "num_seeds": "num_seeds",
    "mean": "seed_mean",
    "low": "seed_low",
    "high": "seed_high",
    "bootstrap_low": "seed_bootstrap_low",
    "bootstrap_high": "seed_bootstrap_high",
}
"""What a point of a curve over seeds is called beside the values of its seeds."""


@dataclass(frozen=True)
class SeedChange:
    """How the accuracy of a task changed between two anchors, in points (hundredths of accuracy), over seeds."""

    task: str
    first_nominal_tokens: int
    last_nominal_tokens: int
    points: float
    """Mean over seeds."""
    low: float
    """Lower end of the 95% t interval over seeds."""
    high: float
    num_seeds: int
    unit: str = "tokens"
    """What the anchors count."""

    def __str__(self) -> str:
        first, last = map(format_tokens, (self.first_nominal_tokens, self.last_nominal_tokens))
        low, high = cut_off(self.low, self.high, (-100.0, 100.0))
        return (
            f"{self.task}: {self.points:+.1f} points from {first} to {last} {self.unit}, mean of {self.num_seeds} seeds "
            f"(95% t interval over seeds {low:.1f} to {high:.1f})"
        )


class _Measured(NamedTuple):
    run: Run
    anchor: Anchor | None
    value: float


def seed_means(group: Group, table: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`: what two or more seeds of a group measured at an anchor, with two 95% intervals of its mean: `low` to
    `high` is Student's.

    `table` is the tidy table of the group's runs. What was not measured alike (other data or settings, another number of
    examples, other text) has no mean.
    """
    points = [
        (key, [one.value for one in measured])
        for key, measured in _measured(group, table).items()
        if len(measured) > 1 and _are_alike(measured, *key[1:])
    ]
    found = np.empty((len(points), 5))
    counts = np.array([len(values) for _, values in points], dtype=np.int64)
    for number in np.unique(counts):
        found[counts == number] = mean_intervals(np.array([values for _, values in points if len(values) == number]))
    rows = [(*key, len(values), *ends) for (key, values), ends in zip(points, found.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"nominal_tokens": "int64", "num_seeds": "int64"})


def seed_changes(group: Group) -> list[SeedChange]:
    """Mean over two or more seeds of the change in accuracy from the first to the last anchor that all of them have, for every
    headline task for which the results are alike."""
    tasks = dict.fromkeys(task for run in group.runs for task in run.headline_tasks)
    return [each for task in tasks if len(group.runs) > 1 and (each := _seed_change(group, task))]


def _seed_change(group: Group, task: str) -> SeedChange | None:
    by_run = [
        {
            anchor.document.nominal_tokens: anchor.results.tasks[task]
            for anchor in run.anchors
            if task in anchor.results.tasks and "acc" in anchor.results.tasks[task].metrics
        }
        for run in group.runs
    ]
    last = max(set.intersection(*map(set, by_run)), default=None)
    if last is None:
        return None
    alike = [
        tokens
        for tokens in sorted(set.intersection(*map(set, by_run)))
        if all(same_conditions(of_run[tokens], by_run[0][last]) for of_run in by_run)
    ]
    if len(alike) < 2 or alike[-1] != last:
        return None
    points = [100 * (of_run[last].metrics["acc"].value - of_run[alike[0]].metrics["acc"].value) for of_run in by_run]
    return SeedChange(task, alike[0], last, *mean_interval(points), num_seeds=len(points), unit=group.runs[0].unit)


def _measured(group: Group, table: pd.DataFrame) -> dict[tuple[int, str, str], list[_Measured]]:
    """By anchor, task and metric what the seeds measured."""
    by_seed = {run.seed: (run, {anchor.revision: anchor for anchor in run.anchors}) for run in group.runs}
    measured: dict[tuple[int, str, str], list[_Measured]] = {}
    columns = (table[name].tolist() for name in ("nominal_tokens", "task", "metric", "seed", "revision", "value"))
    for tokens, task, metric, seed, revision, value in zip(*columns, strict=True):
        run, anchors = by_seed[int(seed)]  # text, beside plain tables with names for seeds
        measured.setdefault((tokens, task, metric), []).append(_Measured(run, anchors.get(revision), value))
    return measured


def _are_alike(measured: list[_Measured], task: str, metric: str) -> bool:
    results = [one.anchor.results.tasks.get(task) if one.anchor else None for one in measured]
    there = [result for result in results if result]
    if len(there) == len(results):
        return len(clusters(there, same_for(metric))) == 1
    is_like = same_held_out_text if metric == "dev_bits_per_byte" else same_loss
    return len(clusters([one.run for one in measured], is_like)) == 1
