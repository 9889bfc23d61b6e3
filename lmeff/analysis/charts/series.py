"""The lines of a chart: runs that differ only in their seed become one series, with a band."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lmeff.analysis.reading.groups import Group, check_one_unit, group_runs
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.statistics.seeds import seed_means
from lmeff.analysis.statistics.tidy_table import tidy_table
from lmeff.intervals import possible_range

NUM_LOG_POINTS = 400
"""Points that a training-loss line is thinned to, half of them spaced evenly in tokens and half in their logarithm."""
MOST_LOG_POINTS = 6000
"""Of all lines of a panel together: a page of a hundred runs stays small."""
_POINTS = ["series", "task", "tokens", "anchor", "value", "low", "high", "seed", "spread"]


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
    table = series.table[(series.table["metric"] == metric) & series.table["task"].isin(list(tasks))]
    points = table.assign(series=series.label, tokens=table["exact_tokens"], anchor=table["nominal_tokens"])
    if table["seed"].nunique() == 1:  # of one run or, where others have nothing yet, of the one that has
        spread = np.where(points["low"].notna(), "95% interval over " + points["interval_over"].fillna(""), "")
        whole = points.assign(seed=None, spread=spread)
        whole[["low", "high"]] = whole[["low", "high"]].apply(lambda column: column.fillna(whole["value"]))
        return _scaled(whole, scale)
    seeds = points.assign(low=np.nan, high=np.nan, spread="")
    is_wanted = (series.means["metric"] == metric) & series.means["task"].isin(list(tasks))
    mean = series.means[is_wanted & (series.means["num_seeds"] == table["seed"].nunique())]
    tokens = table.groupby("nominal_tokens")["exact_tokens"].first()
    mean = mean.assign(series=series.label, anchor=mean["nominal_tokens"], value=mean["mean"], seed=None)
    mean = mean.assign(tokens=mean["nominal_tokens"].map(tokens))
    low, high = possible_range(metric)
    mean = mean.assign(low=mean["low"].clip(lower=low), high=mean["high"].clip(upper=high))
    mean = mean.assign(spread="95% t interval over " + mean["num_seeds"].astype(str) + " seeds")
    return _scaled(pd.concat([mean[_POINTS], seeds[_POINTS]], ignore_index=True), scale)


def _scaled(points: pd.DataFrame, scale: float) -> pd.DataFrame:
    points = points[_POINTS].copy()
    points[["value", "low", "high"]] *= scale
    return points


def training_loss(series: Series, num_points: int = NUM_LOG_POINTS) -> pd.DataFrame:
    """Training loss from the logs, thinned by averaging: `series`, `seed`, `tokens`, `value`."""
    frames = [logged(run, "loss", num_points).assign(series=series.label, seed=run.seed) for run in series.runs]
    return pd.concat(frames, ignore_index=True)[["series", "seed", "tokens", "value"]]


def logged(run: Run, name: str, num_points: int = NUM_LOG_POINTS) -> pd.DataFrame:
    """A field of the log, thinned by averaging: `tokens`, `value`."""
    known = [(record.tokens, getattr(record, name)) for record in run.log if record.tokens > 0]
    frame = pd.DataFrame([row for row in known if row[1] is not None], columns=["tokens", "value"], dtype=float)
    if len(frame) <= num_points:
        return frame
    first, last = frame["tokens"].iloc[0], frame["tokens"].iloc[-1]
    half = num_points // 2
    edges = np.union1d(np.linspace(first, last, half), np.geomspace(first, last, half))
    return frame.groupby(np.searchsorted(edges, frame["tokens"])).mean().reset_index(drop=True)
