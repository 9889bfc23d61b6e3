"""The lines of a chart: runs that differ only in their seed become one series, with a band."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmeff.analysis.curves import ACQUIRED, NORMAL_95
from lmeff.analysis.runs import Run
from lmeff.analysis.table import tidy_table
from lmeff.errors import InputError

NUM_LOG_POINTS = 400
"""Points that a training-loss line is thinned to, half of them spaced evenly in tokens and half in their logarithm."""


@dataclass(frozen=True)
class Series:
    """Runs of one configuration, one a seed."""

    label: str
    runs: tuple[Run, ...]
    table: pd.DataFrame
    """Their tidy table."""

    @property
    def unit(self) -> str:
        """What its anchors count: tokens, words or steps."""
        return self.runs[0].unit

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task for run in self.runs for task in run.tasks))


def make_series(runs: Sequence[Run]) -> list[Series]:
    """Groups runs by recipe without seed and paths. The same seed twice makes two series: that is no second sample.

    Raises InputError when some count tokens and others words: they cannot share an axis.
    """
    one_of = {run.unit: run for run in runs}
    if len(one_of) > 1:
        units = ", ".join(f"{run.name} counts {unit}" for unit, run in one_of.items())
        raise InputError(f"these cannot be drawn along one axis: {units}; draw them apart")
    groups: dict[str, list[list[Run]]] = {}
    for run in runs:
        recipe = {key: value for key, value in run.recipe.items() if key not in ("seed", "paths")}
        alike = groups.setdefault(json.dumps([run.name, run.source, recipe], sort_keys=True, default=str), [])
        for members in alike:
            if run.seed not in {member.seed for member in members}:
                members.append(run)
                break
        else:
            alike.append([run])
    members = [tuple(sorted(each, key=lambda run: run.seed)) for alike in groups.values() for each in alike]
    return [Series(label, each, tidy_table(each)) for label, each in zip(_labels(members), members, strict=True)]


def _labels(groups: list[tuple[Run, ...]]) -> list[str]:
    """The shortest names that tell the series apart: name, name and seeds, then with the folder they lie in."""
    forms = []
    for runs in groups:
        seeds = ", ".join(str(run.seed) for run in runs)
        name = runs[0].name
        named = f"{name}, seed{'s' if len(runs) > 1 else ''} {seeds}"
        forms.append((name, named, f"{runs[0].folder.resolve().parents[1].name}/{named}"))
    labels: list[str] = []
    for form in forms:
        unique = [text for level, text in enumerate(form) if sum(other[level] == text for other in forms) == 1]
        label = unique[0] if unique else form[-1]
        copies = labels.count(label)
        labels.append(f"{label} ({copies + 1})" if copies else label)
    return labels


def curve_points(series: Series, tasks: Iterable[str], metric: str, scale: float = 1.0) -> pd.DataFrame:
    """Points of curves: `series`, `task`, `tokens`, `anchor`, `value`, `low`, `high`, `seed`, `spread`.

    With one run, `low` to `high` is the 95% interval over examples (1.96 standard errors). With several, the rows
    without `seed` are their mean with the lowest and the highest seed, at the anchors that all of them have, and the
    rows with `seed` are the runs. `spread` says in words which of the two it is. `scale` multiplies values.
    """
    table = series.table[(series.table["metric"] == metric) & series.table["task"].isin(list(tasks))].copy()
    table[["value", "stderr"]] *= scale
    table = table.assign(series=series.label, tokens=table["exact_tokens"], anchor=table["nominal_tokens"])
    columns = ["series", "task", "tokens", "anchor", "value", "low", "high", "seed", "spread"]
    if len(series.runs) == 1:
        half = NORMAL_95 * table["stderr"].fillna(0.0)
        spread = np.where(table["stderr"].notna(), "95% interval over examples", "")
        return table.assign(low=table["value"] - half, high=table["value"] + half, seed=None, spread=spread)[columns]
    seeds = table.assign(low=np.nan, high=np.nan, spread="")
    grouped = table.groupby(["series", "task", "anchor"], sort=False)["value"]
    mean = grouped.agg(value="mean", low="min", high="max", num="size").reset_index()
    mean["tokens"] = table.groupby(["series", "task", "anchor"], sort=False)["tokens"].first().to_numpy()
    mean = mean[mean["num"] == table["seed"].nunique()]
    mean = mean.assign(seed=None, spread="lowest to highest of " + mean["num"].astype(str) + " seeds")
    return pd.concat([mean[columns], seeds[columns]], ignore_index=True)


def training_loss(series: Series) -> pd.DataFrame:
    """Training loss from the logs, thinned by averaging: `series`, `seed`, `tokens`, `value`."""
    frames = [_thinned(run).assign(series=series.label, seed=run.seed) for run in series.runs]
    return pd.concat(frames, ignore_index=True)[["series", "seed", "tokens", "value"]]


def _thinned(run: Run) -> pd.DataFrame:
    logged = [(record.tokens, record.loss) for record in run.log if record.loss is not None and record.tokens > 0]
    frame = pd.DataFrame(logged, columns=["tokens", "value"], dtype=float)
    if len(frame) <= NUM_LOG_POINTS:
        return frame
    first, last = frame["tokens"].iloc[0], frame["tokens"].iloc[-1]
    half = NUM_LOG_POINTS // 2
    edges = np.union1d(np.linspace(first, last, half), np.geomspace(first, last, half))
    return frame.groupby(np.searchsorted(edges, frame["tokens"])).mean().reset_index(drop=True)


def acquisition_order(series: Series, tasks: Iterable[str]) -> list[tuple[str, int | None]]:
    """Tasks with the nominal tokens of the first anchor at which they reach 75% (None: never), earliest first.

    Among tasks of one anchor the higher final accuracy goes first.
    """
    points = curve_points(series, tasks, "acc")
    points = points[points["seed"].isna()].sort_values("tokens")
    keys = []
    for task, curve in points.groupby("task", sort=False):
        reached = curve.loc[curve["value"] >= ACQUIRED, "anchor"]
        first = int(reached.iloc[0]) if len(reached) else None
        keys.append((float("inf") if first is None else first, -curve["value"].iloc[-1], str(task), first))
    return [(task, first) for _, _, task, first in sorted(keys, key=lambda key: key[:3])]
