"""The lines of a chart: runs that differ only in their seed become one series, with a band."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from math import fsum, isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from lmeff.analysis.reading.groups import Group, check_one_unit, group_runs
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.statistics.seeds import seed_means
from lmeff.analysis.statistics.tidy_table import tidy_table
from lmeff.intervals import cut_off, possible_range

NUM_LOG_POINTS = 400
"""Points that a training-loss line is thinned to, half of them spaced evenly in tokens and half in their logarithm."""
MOST_LOG_POINTS = 6000
"""Of all lines of a panel together: a page of a hundred runs stays small."""
_POINTS = ["series", "task", "tokens", "anchor", "value", "low", "high", "seed", "spread"]
_TYPES = {"seed": object, "value": float, "low": float, "high": float}
_CURVE_COLUMNS = (
    "task", "metric", "seed", "nominal_tokens", "exact_tokens", "value", "low", "high", "interval_over"
)  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Runs of one configuration, one a seed."""

    label: str
    runs: tuple[Run, ...]
    table: pd.DataFrame
    """Their tidy table."""

    @cached_property
    def means(self) -> pd.DataFrame:
        """Of everything that two or more of its runs measured alike, over seeds."""
        return seed_means(self.group, self.table)

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """The columns of the table that curves are made of, as lists."""
        return {name: self.table[name].tolist() for name in _CURVE_COLUMNS}

    @cached_property
    def places(self) -> dict[str, dict[str, list[int]]]:
        """By task and metric the numbers of its rows in the table, in rising order."""
        places: dict[str, dict[str, list[int]]] = {}
        for number, (task, metric) in enumerate(zip(self.columns["task"], self.columns["metric"], strict=True)):
            places.setdefault(task, {}).setdefault(metric, []).append(number)
        return places

    def means_of(self, tasks: Sequence[str], metric: str) -> list[tuple[Any, ...]]:
        """Of a metric of some tasks: task, nominal tokens, mean over seeds, both ends of its t interval, number of seeds."""
        return [row[1:] for row in self._mean_rows.get(metric, ()) if row[1] in tasks]

    @cached_property
    def _mean_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of `means` by metric."""
        rows: dict[str, list[tuple[Any, ...]]] = {}
        names = ("metric", "task", "nominal_tokens", "mean", "low", "high", "num_seeds")
        for row in zip(*(self.means[name].tolist() for name in names), strict=True):
            rows.setdefault(row[0], []).append(row)
        return rows

    @property
    def group(self) -> Group:
        return Group(self.label, self.runs)

    @property
    def unit(self) -> str:
        """What its anchors count: tokens, words or steps."""
        return self.runs[0].unit

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task for run in self.runs for task in run.tasks))


def make_series(runs: Sequence[Run]) -> list[Series]:
    """The groups of `group_runs` as lines of a chart. Raises InputError when runs cannot share an axis."""
    check_one_unit(runs)
    return [Series(group.label, group.runs, tidy_table(group.runs)) for group in group_runs(runs)]


def all_runs(series: Sequence[Series]) -> list[Run]:
    return [run for each in series for run in each.runs]


def curve_points(series: Series, tasks: Iterable[str], metric: str, scale: float = 1.0) -> pd.DataFrame:
    """Points of curves: `series`, `task`, `tokens`, `anchor`, `value`, `low`, `high`, `seed`, `spread`.

    With one run that has values, `low` to `high` is the 95% interval over examples. With several, the rows without `seed` are
    their mean with its 95% t interval over seeds, at the anchors that all of them have and measured alike, and the rows with
    `seed` are the runs; the interval ends where what is measured does. `spread` says in words which of the two it is. `scale`
    multiplies values.
    """
    return joined_points([series], tasks, metric, scale)


def joined_points(series: Iterable[Series], tasks: Iterable[str], metric: str, scale: float = 1.0) -> pd.DataFrame:
    """`curve_points` of all of them, below each other."""
    tasks = list(dict.fromkeys(tasks))
    rows = [row for each in series for row in _rows(each, tasks, metric, scale)]
    columns = dict(zip(_POINTS, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(_POINTS, ())
    return pd.DataFrame({name: pd.Series(list(values), dtype=_TYPES.get(name)) for name, values in columns.items()})


def _rows(series: Series, tasks: Sequence[str], metric: str, scale: float) -> list[tuple[Any, ...]]:
    """`_POINTS` of one series, in the order of its table: each a tuple, since a table of pandas for each series takes long."""
    columns, label = series.columns, series.label
    numbers = sorted(chain.from_iterable(series.places.get(task, {}).get(metric, ()) for task in tasks))
    seeds = {columns["seed"][number] for number in numbers}
    names = ("task", "exact_tokens", "nominal_tokens", "value", "low", "high", "seed", "interval_over")
    points = [tuple(columns[name][number] for name in names) for number in numbers]
    if len(seeds) == 1:  # of one run or, where others have nothing yet, of the one that has
        return [
            (
                label,
                task,
                tokens,
                anchor,
                value * scale,
                (value if isnan(low) else low) * scale,
                (value if isnan(high) else high) * scale,
                None,
                "" if isnan(low) else f"95% interval over {over if isinstance(over, str) else ''}",
            )
            for task, tokens, anchor, value, low, high, _, over in points
        ]
    tokens_at: dict[int, int] = {}
    for _, tokens, anchor, *_ in points:
        tokens_at.setdefault(anchor, tokens)
    ends = possible_range(metric)
    means = [
        (
            label,
            task,
            tokens_at[anchor],
            anchor,
            mean * scale,
            *(end * scale for end in cut_off(low, high, ends)),
            None,
            f"95% t interval over {num_seeds} seeds",
        )
        for task, anchor, mean, low, high, num_seeds in series.means_of(tasks, metric)
        if num_seeds == len(seeds)
    ]
    alone = [
        (label, task, tokens, anchor, value * scale, nan, nan, seed, "")
        for task, tokens, anchor, value, _, _, seed, _ in points
    ]
    return means + alone


def training_loss(series: Series, num_points: int = NUM_LOG_POINTS) -> pd.DataFrame:
    """Training loss from the logs, thinned by averaging: `series`, `seed`, `tokens`, `value`."""
    frames = [logged(run, "loss", num_points).assign(series=series.label, seed=run.seed) for run in series.runs]
    return pd.concat(frames, ignore_index=True)[["series", "seed", "tokens", "value"]]


def logged(run: Run, name: str, num_points: int = NUM_LOG_POINTS) -> pd.DataFrame:
    """A field of the log, thinned by averaging: `tokens`, `value`."""
    known = [
        (record.tokens, value)
        for record in run.log
        if record.tokens > 0 and (value := getattr(record, name)) is not None
    ]
    tokens, values = (list(map(float, column)) for column in zip(*known, strict=True)) if known else ([], [])
    if len(known) > num_points:
        half = num_points // 2
        edges = np.union1d(np.linspace(tokens[0], tokens[-1], half), np.geomspace(tokens[0], tokens[-1], half))
        starts = np.flatnonzero(np.diff(np.searchsorted(edges, tokens), prepend=-1)).tolist()
        parts = list(pairwise([*starts, len(known)]))
        tokens, values = ([fsum(column[i:j]) / (j - i) for i, j in parts] for column in (tokens, values))
    return pd.DataFrame({"tokens": tokens, "value": values}, dtype=float)
