"""A learning curve: what one run measured along its anchors."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Curve:
    """A metric of a task at the anchors of one run, in rising order of tokens."""

    task: str
    metric: str
    seed: int
    tokens: tuple[int, ...]
    """Nominal ones."""
    values: tuple[float, ...]
    stderrs: tuple[float, ...]
    """Over examples; NaN where none is known."""
    lows: tuple[float, ...]
    """Lower end of the 95% interval over examples; NaN where there is none."""
    highs: tuple[float, ...]


def curves_of(table: pd.DataFrame, metric: str, tasks: Iterable[str]) -> dict[str, list[Curve]]:
    """By task the curves of a metric, one a seed in rising order.

    Args:
        table: the tidy table of runs that differ in their seed only.
    """
    rows = table[(table["metric"] == metric) & table["task"].isin(list(tasks))]
    curves: dict[str, list[Curve]] = {}
    for task, of_task in rows.sort_values("exact_tokens", kind="stable").groupby("task", sort=False):
        curves[str(task)] = [_curve(str(task), metric, int(seed), of_seed) for seed, of_seed in of_task.groupby("seed")]
    return curves


def _curve(task: str, metric: str, seed: int, rows: pd.DataFrame) -> Curve:
    columns = (tuple(rows[name].tolist()) for name in ("nominal_tokens", "value", "stderr", "low", "high"))
    return Curve(task, metric, seed, *columns)
