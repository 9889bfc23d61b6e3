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
    rows = table[(table["metric"] == metric) & table["task"].isin(list(tasks))].sort_values(
        "exact_tokens", kind="stable"
    )
    names = ("task", "seed", "nominal_tokens", "value", "stderr", "low", "high")
    points: dict[tuple[str, int], list[tuple]] = {}
    for task, seed, *point in zip(*(rows[name].tolist() for name in names), strict=True):
        points.setdefault((str(task), int(seed)), []).append(tuple(point))
    curves: dict[str, list[Curve]] = {task: [] for task, _ in points}
    for (task, seed), of_seed in sorted(points.items(), key=lambda item: item[0][1]):
        curves[task].append(Curve(task, metric, seed, *zip(*of_seed, strict=True)))
    return curves
