"""Panels of a few lines that are no runs. Each has a color, dashes and a mark of its own, and can be told apart in gray."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import token_x
from lmeff.analysis.charts.panels import PANEL_SPACING, PANEL_WIDTH, SUBTITLE_LINE_HEIGHT
from lmeff.analysis.charts.points import inline
from lmeff.analysis.charts.themes import DASHES, SHAPES

_CHARACTER_WIDTH, _SYMBOL_WIDTH = 7, 30
"""Pixels of an entry of a legend."""
Panel: TypeAlias = alt.LayerChart | alt.FacetChart
"""What layers become: facets too, as altair says."""


def line_panel(
    points: pd.DataFrame,
    lines: Sequence[str],
    title: str,
    subtitle: str,
    y_title: str,
    scale: alt.Scale,
    bounds: Mapping[str, float] | None = None,
    **axis: Any,
) -> Panel:
    """Lines over tokens with their bands. `points`: `line`, `tokens`, `value`, `low`, `high` (which may be empty), `when` and
    `shown` for the tooltip. `lines` are all that the legend names, `bounds` values that no tokens change, by what they are."""
    base = alt.Chart().encode(token_x(), color_of(lines))
    options: dict[str, Any] = {"tickCount": 5, **axis}
    ticks = alt.Axis(**options)
    y = alt.Y("value:Q", title=y_title, scale=scale, axis=ticks)
    low = alt.Y("low:Q", title=y_title, scale=scale, axis=ticks)
    band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.13).encode(low, y2="high:Q")
    dots = base.mark_point(filled=True, size=55, opacity=1)
    level = alt.Chart(alt.Data(values=[{"line": name, "value": value} for name, value in (bounds or {}).items()]))
    said = ", ".join(f"{name} {value:.3g}" for name, value in (bounds or {}).items())
    return alt.layer(
        *([level.mark_rule(style="reference", strokeDash=[5, 4]).encode(y)] if bounds else []),
        band,
        base.mark_line(strokeWidth=2).encode(y, dash_of(lines)),
        dots.encode(y, shape_of(lines), tooltip=tooltip("line", "when", "shown")),
        data=inline(points),
        title=alt.TitleParams(title, subtitle=[subtitle, f"dashed: {said}"] if bounds else subtitle),
    ).properties(width=PANEL_WIDTH, height=240)


def color_of(lines: Sequence[str], field: str = "line") -> alt.Color:
    return alt.Color(f"{field}:N", sort=None, scale=alt.Scale(domain=list(lines)), legend=_legend(lines))


def dash_of(lines: Sequence[str]) -> alt.StrokeDash:
    """With the same legend as the colors, too."""
    scale = alt.Scale(domain=list(lines), range=list(DASHES))
    return alt.StrokeDash("line:N", sort=None, scale=scale, legend=_legend(lines))


def shape_of(lines: Sequence[str], field: str = "line") -> alt.Shape:
    """With the same legend as the colors, so that the two are one."""
    marks = [SHAPES[number % len(SHAPES)] for number in range(len(lines))]
    scale = alt.Scale(domain=list(lines), range=marks)
    return alt.Shape(f"{field}:N", sort=None, scale=scale, legend=_legend(lines))


def _legend(lines: Sequence[str]) -> alt.Legend | None:
    if len(lines) < 2:
        return None
    # As many in a row as fit over a panel; with an outline the dashes of the lines would make the marks ragged.
    longest = max(map(len, lines))
    columns = max(1, min(4, PANEL_WIDTH // (_CHARACTER_WIDTH * longest + _SYMBOL_WIDTH)))
    return alt.Legend(title=None, orient="top", labelLimit=0, symbolOpacity=1, symbolStrokeWidth=0, columns=columns)


def tooltip(*fields: str) -> list[alt.Tooltip]:
    names = {"line": "what", "when": "at", "shown": "value"}
    return [alt.Tooltip(f"{field}:N", title=names.get(field, field)) for field in fields]


def side_by_side(charts: Sequence[Panel]) -> alt.ConcatChart:
    """Two in a row, under one legend."""
    spacing = PANEL_SPACING + 2 * SUBTITLE_LINE_HEIGHT  # of subtitles with three lines
    return alt.concat(*charts, columns=2, spacing=spacing, bounds="flush")


def as_figure(chart: alt.TopLevelMixin) -> dict:
    """The specification of a chart that has no token axis. Its theme is that of the page or of the file."""
    spec = chart.to_dict(validate=False)
    spec.pop("config", None)
    return {**spec, "usermeta": {}}


def with_whole_subtitles(spec: dict) -> dict:
    """Of panels whose subtitles are one text in several lines: the page breaks them anew for its width."""
    spec["usermeta"]["subtitles"] = [" ".join(panel["title"]["subtitle"]) for panel in spec["concat"]]
    return spec


def with_own_legends(charts: Sequence[Panel]) -> alt.ConcatChart:
    """Two in a row, each under its own legend."""
    return side_by_side(charts).resolve_scale(color="independent", shape="independent", strokeDash="independent")
