"""What every model scores on each of many tasks at its end, where that can be compared."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from lmeff.analysis.charts.points import all_points, has_pairs
from lmeff.analysis.charts.series import Series, all_runs
from lmeff.analysis.charts.studies.scored_alike import scored_alike
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import task_titles


class LastScores(NamedTuple):
    """The scores of tasks of one level, a row for each model and task."""

    points: pd.DataFrame
    """`series`, `task`, `title` of the task, `value` in percent, `low`, `high`, `spread`, and `shown` and `when` in words."""
    titles: list[str]
    """Of the tasks, those first that models do best at."""
    models: list[str]
    are_pairs: bool
    """Whether these are minimal pairs, of which guessing gets one half right."""
    left_out: str
    """Words that name the models which were not scored as the others were."""


def last_scores(
    series: Sequence[Series], tasks_of: Callable[[Iterable[Run]], list[str]], fewest_models: int = 1
) -> LastScores | None:
    """The mean over seeds of each series, or its one run, at the last anchor that has each task. None with too few models."""
    titles = task_titles(all_runs(series), tasks_of(all_runs(series)))
    pairs = {task: title for task, title in titles.items() if has_pairs(series, [task])}
    titles = pairs or titles
    if not titles:
        return None
    alike, left_out = scored_alike(series, list(titles))
    points = all_points(alike, titles, "acc", 100) if alike else pd.DataFrame()
    if points.empty:
        return None
    points = points[points["seed"].isna()].sort_values("tokens", kind="stable")
    points = points.groupby(["series", "task"], as_index=False, sort=False).last()
    points["title"] = points["task"].map(titles)
    models = [each.label for each in alike if each.label in set(points["series"])]
    if len(models) < fewest_models:
        return None
    order = points.groupby("title")["value"].mean().sort_values(ascending=False, kind="stable").index.tolist()
    return LastScores(points, order, models, bool(pairs), left_out)
