"""The points of curves as rows, with the words of their tooltips; and which tasks are drawn, by which metric."""

from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from lmeff.analysis.charts.series import Series, joined_points
from lmeff.analysis.reading.tasks import examples_of, headline_metric
from lmeff.quantities import format_tokens


def headline_tasks(series: Sequence[Series]) -> list[str]:
    """Headline tasks with an accuracy or another score, over all runs."""
    tasks = dict.fromkeys(task for each in series for run in each.runs for task in run.headline_tasks)
    return [task for task in tasks if shown_metric(series, task)]


def shown_metric(series: Sequence[Series], task: str) -> str | None:
    """The metric that a task is shown by."""
    return headline_metric({name for each in series for name in each.places.get(task, ())})


def labels(series: Sequence[Series]) -> list[str]:
    return [each.label for each in series]


def has_pairs(series: Sequence[Series], tasks: Sequence[str] | dict[str, str]) -> bool:
    """Whether scores of minimal pairs are behind the tasks, so that guessing gets one half of them right."""
    return any(examples_of(run, task) == "pairs" for each in series for run in each.runs for task in tasks)


def score_points(series: Sequence[Series], task: str) -> pd.DataFrame:
    """The points of a task's curves by the metric that it is shown by, times 100."""
    return all_points(series, [task], shown_metric(series, task) or "acc", 100)


def all_points(series: Sequence[Series], tasks: Iterable[str], metric: str, scale: float = 1.0) -> pd.DataFrame:
    """Points of all series with the words of their tooltip."""
    points = joined_points(series, tasks, metric, scale)
    if points.empty:
        return points
    when = {anchor: f"{format_tokens(anchor)} {series[0].unit}" for anchor in dict.fromkeys(points["anchor"].tolist())}
    points["when"] = points["anchor"].map(when)
    form = {"acc": "{:.1f}%", "score": "{:.1f}"}.get(metric, "{:.3f}").format
    values = (points[name].tolist() for name in ("value", "low", "high", "spread"))
    points["shown"] = [
        form(value) + (f" ({form(low)} to {form(high)}: {spread})" if spread else "")
        for value, low, high, spread in zip(*values, strict=True)
    ]
    return points


def interval_words(points: pd.DataFrame) -> str:
    """What the intervals of points are over, each kind; empty where there is none."""
    return " or ".join(words for words in dict.fromkeys(points["spread"]) if words)


class Rows(alt.InlineData):
    """Rows that all copies of a chart share: altair copies a chart whenever it becomes a part of another one."""

    def __deepcopy__(self, _: object) -> "Rows":
        return self


def inline(frame: pd.DataFrame) -> Rows:
    """Rows as JSON values, NaN as null and numbers rounded to what a screen shows."""
    frame = frame.drop(columns=["anchor", "spread"], errors="ignore")
    names = list(frame.columns)
    columns = [
        [
            None if is_missing else _shown(value) if name in ("value", "low", "high") else value
            for value, is_missing in zip(column.tolist(), column.isna().tolist(), strict=True)
        ]
        for name, column in frame.items()
    ]
    return Rows([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])


def _shown(value: float) -> float:
    """Four decimals, and of a small number, such as a learning rate, four digits."""
    return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")
