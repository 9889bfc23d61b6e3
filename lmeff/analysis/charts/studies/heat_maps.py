"""Tasks by models, with values: which phenomena and paradigms each model has learned at its end."""

from collections.abc import Callable, Iterable, Sequence

import altair as alt
import pandas as pd

from lmeff.analysis.charts.points import has_pairs, inline
from lmeff.analysis.charts.series import Series, all_runs, curve_points
from lmeff.analysis.charts.studies.named_lines import as_figure
from lmeff.analysis.charts.studies.scored_alike import scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import paradigms_of, phenomena_of, task_titles
from lmeff.quantities import format_tokens

MOST_MODELS = 40
CELL_WIDTH, CELL_HEIGHT = 46, 19
WRONG, MIDDLE, RIGHT = "#e08a4a", "#f4f5f7", "#4f9bd0"
"""Below chance, at chance, above: apart for every kind of color vision, and in gray by the number in the cell."""
INK = "#1a1d21"
"""Of the numbers, on every color of a cell."""


def phenomena_map(study: Study) -> dict | None:
    """Phenomena x models at the last anchor of each."""
    return _heat_map(study.series, phenomena_of)


def paradigms_map(study: Study) -> dict | None:
    """Paradigms x models at the last anchor of each."""
    return _heat_map(study.series, paradigms_of)


def _heat_map(series: Sequence[Series], tasks_of: Callable[[Iterable[Run]], list[str]]) -> dict | None:
    titles = task_titles(all_runs(series), tasks_of(all_runs(series)))
    pairs = {task: title for task, title in titles.items() if has_pairs(series, [task])}
    titles = pairs or titles
    if not titles or len(series) > MOST_MODELS:
        return None
    series, left_out = scored_alike(series, list(titles))
    if len(series) < 2:
        return None
    points = pd.concat([_last(each, titles) for each in series], ignore_index=True)
    if points.empty or points["series"].nunique() < 2:
        return None
    points["title"] = points["task"].map(titles)
    points["value"] = points["value"].round(1)
    order = points.groupby("title")["value"].mean().sort_values(ascending=False, kind="stable").index.tolist()
    models = [each.label for each in series if each.label in set(points["series"])]
    base = alt.Chart(inline(points[["series", "title", "value", "when"]])).encode(
        alt.X(
            "series:N",
            title=None,
            sort=models,
            axis=alt.Axis(orient="top", labelAngle=-40, labelLimit=260, domain=False),
        ),
        alt.Y("title:N", title=None, sort=order, axis=alt.Axis(labelLimit=320, domain=False)),
    )
    # Chance is one half of pairs only: of other tasks no color says that a model is worse than guessing.
    colors = {0: WRONG, 50: MIDDLE, 100: RIGHT} if pairs else {0: MIDDLE, 100: RIGHT}
    scale = alt.Scale(domain=list(colors), range=list(colors.values()), interpolate="rgb")
    cells = base.mark_rect().encode(
        alt.Color("value:Q", scale=scale, legend=None),
        tooltip=[
            alt.Tooltip("title:N", title="task"),
            alt.Tooltip("series:N", title="run"),
            alt.Tooltip("value:Q", title="% right"),
            alt.Tooltip("when:N", title="at"),
        ],
    )
    numbers = base.mark_text(fontSize=10.5, color=INK).encode(alt.Text("value:Q", format=".0f"))
    chart = alt.layer(cells, numbers).properties(width=alt.Step(CELL_WIDTH), height=alt.Step(CELL_HEIGHT))
    if left_out:
        chart = chart.properties(title=alt.TitleParams(left_out, fontSize=12, fontWeight="normal"))
    return as_figure(chart)


def _last(series: Series, titles: dict[str, str]) -> pd.DataFrame:
    """The mean over seeds, or the one run, at the last anchor that has each task."""
    points = curve_points(series, titles, "acc", 100)
    points = points[points["seed"].isna()].sort_values("tokens").groupby("task", as_index=False).last()
    return points.assign(when=[f"{format_tokens(tokens)} {series.unit}" for tokens in points["anchor"]])
