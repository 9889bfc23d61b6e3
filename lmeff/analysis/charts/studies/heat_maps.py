"""Tasks by models, with values: which phenomena and paradigms each model has learned at its end."""

from collections.abc import Callable, Iterable, Sequence

import altair as alt

from lmeff.analysis.charts.points import inline
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.studies.last_scores import last_scores
from lmeff.analysis.charts.studies.named_lines import as_figure
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import paradigms_of, phenomena_of

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
    found = last_scores(series, tasks_of, fewest_models=2) if len(series) <= MOST_MODELS else None
    if found is None:
        return None
    points = found.points.assign(value=found.points["value"].round(1))
    base = alt.Chart(inline(points[["series", "task", "title", "value", "when"]])).encode(
        alt.X(
            "series:N",
            title=None,
            sort=found.models,
            axis=alt.Axis(orient="top", labelAngle=-40, labelLimit=260, domain=False),
        ),
        alt.Y("title:N", title=None, sort=found.titles, axis=alt.Axis(labelLimit=320, domain=False)),
    )
    # Chance is one half of pairs only: of other tasks no color says that a model is worse than guessing.
    colors = {0: WRONG, 50: MIDDLE, 100: RIGHT} if found.are_pairs else {0: MIDDLE, 100: RIGHT}
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
    if found.left_out:
        chart = chart.properties(title=alt.TitleParams(found.left_out, fontSize=12, fontWeight="normal"))
    return as_figure(chart)
