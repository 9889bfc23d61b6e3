"""Panels: how large they are, and a small one for every task."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import curve_layers, percent_scale, with_legend_click
from lmeff.analysis.charts.points import all_points, has_pairs, inline, labels
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.token_axis import TokenAxis

PANEL_WIDTH, SMALL_PANEL_WIDTH = 400, 230
PANEL_SPACING = 100
"""Between plotting areas, with room for an axis and, below it, a title."""
SUBTITLE_CHARACTERS = 66
"""What fits over a panel in one line; the page breaks them anew for its width."""
SUBTITLE_LINE_HEIGHT = 15
HEADER_CHARACTERS = 34
HEADER_LABEL = "split(trim(replace(datum.label, regexp('(.{1,WIDTH})( |$)', 'g'), '$1\\n')), '\\n')"
"""Breaks the name of a small panel into lines of at most so many characters. Page.js sets the number for its width."""


def task_panels(series: Sequence[Series], tasks: dict[str, str], picked: Sequence[str] | None = None) -> dict | None:
    """Accuracy of many tasks, a small panel each, on one scale. `tasks` maps a task to its title, in the order to draw.

    With `picked`, only those are drawn at first; the page changes the choice through the parameter `picked`. Returns a
    Vega-Lite specification, or None when none of the tasks was measured.
    """
    points = all_points(series, tasks, "acc", 100)
    if points.empty:
        return None
    points["title"] = points["task"].map(tasks)
    paired = has_pairs(series, tasks)
    layers = curve_layers(points, None, labels(series), percent_scale(points, paired), paired)
    if len(series) > 1:
        layers = with_legend_click(layers)
    titles = [title for task, title in tasks.items() if task in set(points["task"])]
    chart = small_panels(layers, points, titles)
    if picked is not None:
        choice = alt.param(name="picked", value=list(picked))
        chart = chart.add_params(choice).transform_filter("indexof(picked, datum.task) >= 0")
    return TokenAxis(series, SMALL_PANEL_WIDTH).finished(chart)


def small_panels(layers: Sequence[alt.Chart], points: pd.DataFrame, titles: Sequence[str]) -> alt.FacetChart:
    """A small panel for every `title` of the points, on one scale."""
    header = alt.Header(
        title=None,
        labelAnchor="start",
        labelFontWeight="bold",
        labelPadding=4,
        labelLimit=0,
        labelExpr=HEADER_LABEL.replace("WIDTH", str(HEADER_CHARACTERS)),
    )
    cell = alt.layer(*layers).properties(width=SMALL_PANEL_WIDTH, height=150)
    facet = alt.Facet("title:N", sort=list(titles), header=header)
    chart = cell.facet(facet, columns=3, spacing=18, data=inline(points))
    return chart.resolve_axis(x="independent", y="independent")
