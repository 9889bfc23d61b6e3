"""Models within each phenomenon: how right each is at its end, with intervals, beside chance."""

import textwrap
from typing import Any

import altair as alt

from lmeff.analysis.charts.layers import series_color, series_shape
from lmeff.analysis.charts.panels import SUBTITLE_CHARACTERS
from lmeff.analysis.charts.points import inline, interval_words, labels
from lmeff.analysis.charts.studies.last_scores import last_scores
from lmeff.analysis.charts.studies.named_lines import as_figure
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.themes import LIGHT_COLORS
from lmeff.analysis.reading.tasks import phenomena_of
from lmeff.analysis.statistics.acquisition import CHANCE

WIDTH = 620
ROW_HEIGHT = 11
"""Pixels of a model within a phenomenon."""
LABEL_PIXELS = 270
"""What names of rows take beside the width, so that a page can make the rest narrower."""


def grouped_phenomena(study: Study) -> dict[str, Any] | None:
    """A dot for each model in each phenomenon, at the last anchor of each; None of more models than have marks of their own."""
    found = last_scores(study.series, phenomena_of) if len(study.series) <= len(LIGHT_COLORS) else None
    if found is None:
        return None
    lines = labels(study.series)
    # A phenomenon with one row needs some room around it.
    rows = alt.Step(20 if len(found.models) == 1 else ROW_HEIGHT, **{"for": "offset"})
    axis = alt.Axis(labelLimit=260, domain=False, grid=True, tickBand="extent", ticks=False)
    base = alt.Chart().encode(
        alt.Y("title:N", title=None, sort=found.titles, axis=axis, scale=alt.Scale(padding=0)),
        alt.YOffset("series:N", sort=None, scale=alt.Scale(domain=found.models, paddingOuter=0.9)),
        series_color(lines),
    )
    scale = alt.Scale(zero=False, nice=True)
    x, low = (
        alt.X(f"{field}:Q", title="Correct, %", scale=scale, axis=alt.Axis(tickCount=6)) for field in ("value", "low")
    )
    tooltip = [
        alt.Tooltip("title:N", title="phenomenon"),
        alt.Tooltip("series:N", title="run"),
        alt.Tooltip("when:N", title="at"),
        alt.Tooltip("shown:N", title="value"),
    ]
    layers = [
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(low, x2="high:Q"),
        base.mark_point(filled=True, size=48, opacity=1).encode(x, *series_shape(lines), tooltip=tooltip),
    ]
    if found.are_pairs:
        chance = alt.Chart(alt.InlineData(values=[{"value": 100 * CHANCE}]))
        layers.insert(0, chance.mark_rule(style="reference", strokeDash=[5, 4]).encode(x))
    words = interval_words(found.points)
    said = [
        "at the last anchor of each",
        f"bars: {words}" if words else "",
        "dashed: chance" if found.are_pairs else "",
        found.left_out,
    ]
    subtitle = textwrap.wrap("; ".join(filter(None, said)), SUBTITLE_CHARACTERS + 25)
    columns = ["series", "task", "title", "value", "low", "high", "when", "shown"]
    chart = alt.layer(
        *layers,
        data=inline(found.points[columns]),
        title=alt.TitleParams("Models by phenomenon", subtitle=subtitle, frame="bounds"),
    ).properties(width=WIDTH, height=rows)
    spec = as_figure(chart)
    spec["usermeta"]["label_pixels"] = LABEL_PIXELS
    return spec
