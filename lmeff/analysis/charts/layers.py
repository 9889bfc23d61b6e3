"""The layers that curves over tokens are drawn with: chance, bands, lines and points; their axes, scales and colors."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from lmeff.analysis.charts.themes import DASHES, LIGHT_COLORS, SHAPES
from lmeff.analysis.statistics.acquisition import CHANCE

LEGEND = "chosen"
"""Name of the selection that a click into the legend makes."""
TOKEN_LABEL = "replace(format(datum.value, '~s'), 'G', 'B')"
"""Axis labels such as 25M and 1.5B, with the letters that recipes use."""


def curve_layers(
    points: pd.DataFrame,
    y_title: str | None,
    lines: Sequence[str],
    scale: alt.Scale,
    chance: bool = False,
    label_chance: bool = False,
    series_are: str = "run",
) -> list[alt.Chart]:
    """Chance line, band, thin lines of single seeds, the line, and points that can be hovered.

    `lines` are the names of all lines of the page, those without a point here too, so that each has one color in every figure.
    """
    base = alt.Chart()  # without data: it takes that of the layer, or of a facet's cell
    whole = base.transform_filter("datum.seed === null")
    layers = _chance_layers(value_y("chance", y_title, scale), label_chance) if chance else []
    if (points["low"] < points["high"]).any():
        band = shared(whole.mark_area(clip=True), lines, 0.2)
        layers.append(band.encode(value_y("low", y_title, scale), y2="high:Q"))
    if points["seed"].notna().any():
        seeds = shared(base.transform_filter("datum.seed !== null").mark_line(strokeWidth=1), lines, 0.6)
        layers.append(seeds.encode(value_y("value", y_title, scale), detail="seed:N"))
    value = value_y("value", y_title, scale)
    layers.append(shared(whole.mark_line(strokeWidth=2.5), lines, 1).encode(value, *series_dash(lines)))
    dots = shared(whole.mark_point(filled=True, size=45), lines, 1).encode(*series_shape(lines))
    names = {"series": series_are} if len(lines) > 1 else {}
    names |= {"title": "task"} if "title" in points else {}
    tooltip = [
        alt.Tooltip(f"{field}:N", title=name) for field, name in (names | {"when": "at", "shown": "value"}).items()
    ]
    return [*layers, dots.encode(value, tooltip=tooltip)]


def with_legend_click(layers: list[alt.Chart]) -> list[alt.Chart]:
    """One layer gets the selection that a click into the legend changes; the others refer to it by name."""
    return [*layers[:-1], layers[-1].add_params(alt.selection_point(name=LEGEND, fields=["series"], bind="legend"))]


def shared(chart: alt.Chart, lines: Sequence[str], opacity: float) -> alt.Chart:
    """Token axis and color by series; series that are not chosen in the legend fade."""
    if len(lines) == 1:
        return chart.encode(token_x(), series_color(lines), alt.OpacityValue(opacity))
    faded = alt.OpacityValue(opacity * 0.12, condition=[{"param": LEGEND, "value": opacity}])
    return chart.encode(token_x(), series_color(lines), faded)


def _chance_layers(y: alt.Y, labeled: bool) -> list[alt.Chart]:
    base = alt.Chart(alt.Data(values=[{"chance": 100 * CHANCE}]))
    rule = base.mark_rule(style="reference", strokeDash=[5, 4]).encode(y)
    text = base.mark_text(style="reference-label", align="right", dy=9, text="chance").encode(y, alt.XValue("width"))
    return [rule, text] if labeled else [rule]


def token_x() -> alt.X:
    """The channel that `TokenAxis` completes."""
    axis = alt.Axis(labelExpr=TOKEN_LABEL, labelOverlap="greedy", labelSeparation=6, grid=False)
    return alt.X("tokens:Q", axis=axis)


def value_y(field: str, title: str | None, scale: alt.Scale) -> alt.Y:
    # An axis without a title names its unit in the labels.
    labels = alt.Undefined if title else "datum.label + '%'"
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, labelExpr=labels))


def series_color(lines: Sequence[str], legend_of_lines: bool = False) -> alt.Color:
    """By series. More than the eight colors that can be told apart become a gradient in the order of the series.
    `legend_of_lines`: for a figure without points, whose legend then shows the dashes."""
    scheme = alt.Undefined if _can_be_told_apart(lines) else "viridis"
    scale = alt.Scale(domain=list(lines), scheme=scheme)
    return alt.Color("series:N", sort=None, scale=scale, legend=_legend(lines, legend_of_lines))


def series_shape(lines: Sequence[str]) -> list[alt.Shape]:
    """The mark of each series, in the same legend as its color; none of too many series."""
    if len(lines) == 1 or not _can_be_told_apart(lines):
        return []
    scale = alt.Scale(domain=list(lines), range=list(SHAPES[: len(lines)]))
    return [alt.Shape("series:N", sort=None, scale=scale, legend=_legend(lines))]


def series_dash(lines: Sequence[str], legend_of_lines: bool = False) -> list[alt.StrokeDash]:
    """The dashes of each series, in the same legend as its color; none of too many series."""
    if len(lines) == 1 or not _can_be_told_apart(lines):
        return []
    scale = alt.Scale(domain=list(lines), range=list(DASHES[: len(lines)]))
    return [alt.StrokeDash("series:N", sort=None, scale=scale, legend=_legend(lines, legend_of_lines))]


def _can_be_told_apart(lines: Sequence[str]) -> bool:
    return len(lines) <= len(LIGHT_COLORS)


def _legend(lines: Sequence[str], of_lines: bool = False) -> alt.Legend | None:
    if len(lines) == 1:
        return None
    of_both: dict[str, Any] = {"title": None, "orient": "top", "labelLimit": 0}
    if of_lines:
        return alt.Legend(**of_both, symbolType="stroke", symbolStrokeWidth=2, symbolSize=300)
    # With an outline the dashes of the lines would make the marks ragged.
    return alt.Legend(**of_both, symbolOpacity=1, symbolStrokeWidth=0)


def loss_scale(values: pd.Series) -> alt.Scale:
    """From round number to round number. Vega rounds the label of a lone value, so that it would be wrong."""
    if values.min() == values.max():
        return alt.Scale(domain=[math.floor(values.min()), math.floor(values.min()) + 1], nice=False)
    return alt.Scale(zero=False, nice=5)


def percent_scale(points: pd.DataFrame, with_chance: bool) -> alt.Scale:
    """Rounded outward to 5 or 10 points around what there is to see."""
    values = pd.concat([points["low"], points["high"], points["value"]]).dropna()
    low = min(values.min(), 100 * CHANCE - 2) if with_chance else values.min()
    step = 5 if values.max() - low <= 35 else 10
    low, high = step * math.floor(low / step), step * math.ceil(values.max() / step)
    return alt.Scale(domain=[max(low, 0), min(max(high, low + step), 100)], nice=False)
