"""Learning curves as Vega-Lite charts, made with Altair. Colours and type come from a theme that a page may set."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import altair as alt
import pandas as pd
import vl_convert

from lmeff.analysis.curves import CHANCE
from lmeff.analysis.runs import Run
from lmeff.analysis.series import Series, curve_points, make_series, training_loss
from lmeff.analysis.table import OTHER_METRICS, headline_metric
from lmeff.analysis.themes import LIGHT
from lmeff.errors import InputError
from lmeff.files import write_bytes
from lmeff.quantities import format_count

VEGA_LITE_VERSION = re.match(r"v?(\d+\.\d+)", alt.SCHEMA_VERSION)[1]
LOSS = "Loss, nats per token"
LEGEND = "chosen"
"""Name of the selection that a click into the legend makes."""
TOKEN_LABEL = "replace(format(datum.value, '~s'), 'G', 'B')"
"""Axis labels such as 25M and 1.5B, with the letters that recipes use."""
MANY_TOKENS_APART = 20
"""Above this ratio of the last to the first anchor the token axis starts out logarithmic."""
PANEL_SPACING = 80
"""Between plotting areas, with room for an axis."""
PNG_PIXELS_PER_INCH = 160


def main_figure(series: Sequence[Series]) -> dict | None:
    """Loss, and the accuracy of every headline task, against training tokens; None when nothing was measured yet.

    Returns a Vega-Lite specification whose `usermeta` says how to draw the token axis.
    """
    panels = [_loss_panel(series), *(_accuracy_panel(series, task) for task in headline_tasks(series))]
    panels = [panel for panel in panels if panel is not None]
    if not panels:
        return None
    if len(series) > 1:
        panels[0] = panels[0]._replace(layers=with_legend_click(panels[0].layers))
    charts = [
        alt.layer(*panel.layers, data=inline(panel.points), title=alt.TitleParams(panel.title, subtitle=panel.subtitle))
        for panel in panels
    ]
    charts = [chart.properties(width=400, height=280) for chart in charts]
    return TokenAxis(series, 0.1).finished(alt.concat(*charts, columns=2, spacing=PANEL_SPACING, bounds="flush"))


def task_panels(series: Sequence[Series], tasks: dict[str, str], picked: Sequence[str] | None = None) -> dict | None:
    """Accuracy of many tasks, a small panel each, on one scale. `tasks` maps a task to its title, in the order to draw.

    With `picked`, only those are drawn at first; the page changes the choice through the parameter `picked`. Returns a
    Vega-Lite specification, or None when none of the tasks was measured.
    """
    points = _all_points(series, tasks, "acc", 100)
    if points.empty:
        return None
    points["title"] = points["task"].map(tasks)
    paired = has_pairs(series, tasks)
    layers = curve_layers(points, None, len(series), _percent_scale(points, paired), paired)
    if len(series) > 1:
        layers = with_legend_click(layers)
    titles = [title for task, title in tasks.items() if task in set(points["task"])]
    header = alt.Header(title=None, labelAnchor="start", labelFontWeight="bold", labelPadding=4, labelLimit=230)
    cell = alt.layer(*layers).properties(width=230, height=150)
    chart = cell.facet(alt.Facet("title:N", sort=titles, header=header), columns=3, spacing=18, data=inline(points))
    chart = chart.resolve_axis(x="independent", y="independent")
    if picked is not None:
        choice = alt.param(name="picked", value=list(picked))
        chart = chart.add_params(choice).transform_filter("indexof(picked, datum.task) >= 0")
    return TokenAxis(series, 0.15).finished(chart)


def headline_tasks(series: Sequence[Series]) -> list[str]:
    """Headline tasks with an accuracy or another score, over all runs."""
    tasks = dict.fromkeys(task for each in series for run in each.runs for task in run.headline_tasks)
    return [task for task in tasks if _metric(series, task)]


def _metric(series: Sequence[Series], task: str) -> str | None:
    return headline_metric({name for each in series for name in each.table[each.table["task"] == task]["metric"]})


def has_pairs(series: Sequence[Series], tasks: Sequence[str] | dict[str, str]) -> bool:
    """Whether scores of minimal pairs are behind the tasks, so that guessing gets one half of them right."""
    runs = [run for each in series for run in each.runs]
    return any(
        anchor.paradigm_scores.index.isin(run.paradigms(task)).any()
        for run in runs
        for anchor in run.anchors
        for task in tasks
    )


def write_png(runs: Sequence[Run], path: str | Path, title: str | None = None) -> Path:
    """The main figure as a PNG on white. Raises InputError when there is nothing to draw yet."""
    path = Path(path)
    spec = main_figure(make_series(runs))
    if spec is None:
        raise InputError(f"{path}: nothing to draw; no anchor has a loss or an accuracy yet")
    write_bytes(path, render_png(spec, title))
    return path


def render_png(spec: dict, title: str | None = None) -> bytes:
    """A specification as PNG bytes, in the light theme."""
    named = {"title": {"text": title, "anchor": "start", "fontSize": 16, "offset": 14}} if title else {}
    config = {**LIGHT, "padding": 16}
    return vl_convert.vegalite_to_png({**spec, **named, "config": config}, VEGA_LITE_VERSION, ppi=PNG_PIXELS_PER_INCH)


class TokenAxis:
    """The x axis of a chart: where its logarithmic form turns linear, so that 0 has a place, and its ticks."""

    def __init__(self, series: Sequence[Series], least_share: float) -> None:
        anchors = sorted({int(tokens) for each in series for tokens in each.table["nominal_tokens"]})
        positive = [tokens for tokens in anchors if tokens] or [1]
        # A symlog that turns linear a quarter of the way to the first anchor gives it the room of two doublings or so.
        constant = positive[0] / 4
        share = {tokens: math.log1p(tokens / constant) / math.log1p(positive[-1] / constant) for tokens in anchors}
        ticks: list[int] = []
        for tokens in reversed(anchors):
            if not ticks or share[ticks[-1]] - share[tokens] >= least_share:
                ticks.append(tokens)
        far_apart = positive[-1] / positive[0] >= MANY_TOKENS_APART
        self.meta = {"log": far_apart, "constant": constant, "ticks": ticks[::-1] or [0]}
        self.title = f"Training {series[0].unit}"

    def finished(self, chart: alt.TopLevelMixin) -> dict:
        """The chart's specification with this axis on every `tokens` channel."""
        spec = chart.to_dict()
        spec.pop("config", None)
        _set_token_axes(spec, self.meta, self.title)
        return {**spec, "usermeta": {"token_axis": self.meta}}


def _set_token_axes(node: object, meta: dict, title: str) -> None:
    """The same walk as in page.js, which repeats it when the reader switches the axis."""
    if isinstance(node, list):
        for each in node:
            _set_token_axes(each, meta, title)
    elif isinstance(node, dict):
        if node.get("field") == "tokens" and "axis" in node:
            node["title"] = title
            log = {"type": "symlog", "constant": meta["constant"], "nice": False}
            node["scale"] = log if meta["log"] else {"type": "linear", "nice": False}
            # Vega thins given values to the tick count, so it may have one of the two.
            node["axis"] |= {"values": meta["ticks"]} if meta["log"] else {"tickCount": 5}
        for key, each in node.items():
            if key != "datasets":
                _set_token_axes(each, meta, title)


class Panel(NamedTuple):
    layers: list[alt.Chart]
    points: pd.DataFrame
    title: str
    subtitle: str


def with_legend_click(layers: list[alt.Chart]) -> list[alt.Chart]:
    """One layer gets the selection that a click into the legend changes; the others refer to it by name."""
    return [*layers[:-1], layers[-1].add_params(alt.selection_point(name=LEGEND, fields=["series"], bind="legend"))]


def _loss_panel(series: Sequence[Series]) -> Panel | None:
    points = _all_points(series, ["dev"], "dev_loss", 1)
    training = pd.concat([training_loss(each) for each in series], ignore_index=True)
    if points.empty and training.empty:
        return None
    layers, scale = [], loss_scale(pd.concat([points["value"], training["value"]]))
    if not training.empty:
        line = alt.Chart(inline(training)).mark_line(strokeWidth=1, clip=True)
        layers.append(_shared(line, len(series), 0.45).encode(_y("value", LOSS, scale), detail="seed:N"))
    if not points.empty:
        layers += curve_layers(points, LOSS, len(series), scale)
    words = [*(["thin: training text"] if len(training) else []), *(["thick: held-out text"] if len(points) else [])]
    return Panel(layers, points, "Loss", "; ".join(reversed(words)))


def _accuracy_panel(series: Sequence[Series], task: str) -> Panel:
    if (metric := _metric(series, task)) in OTHER_METRICS:
        return _score_panel(series, task, metric)
    points = _all_points(series, [task], "acc", 100)
    paired = has_pairs(series, [task])
    spreads = [words for words in dict.fromkeys(points["spread"]) if words]
    band = "95% interval, or range over seeds" if len(spreads) > 1 else "".join(spreads)
    layers = curve_layers(points, "Correct, %", len(series), _percent_scale(points, paired), paired, label_chance=True)
    title = "Accuracy on minimal pairs" if paired else "Accuracy"
    return Panel(layers, points, title, f"{task}; band: {band}" if band else task)


def _score_panel(series: Sequence[Series], task: str, metric: str) -> Panel:
    points = _all_points(series, [task], metric, 100)
    layers = curve_layers(points, "Score x 100", len(series), alt.Scale(zero=False))
    return Panel(layers, points, "Score", f"{task}: {OTHER_METRICS[metric]}")


def curve_layers(
    points: pd.DataFrame,
    y_title: str | None,
    num_series: int,
    scale: alt.Scale,
    chance: bool = False,
    label_chance: bool = False,
    series_are: str = "run",
) -> list[alt.Chart]:
    """Chance line, band, thin lines of single seeds, the line, and points that can be hovered."""
    base = alt.Chart()  # without data: it takes that of the layer, or of a facet's cell
    whole = base.transform_filter("datum.seed === null")
    layers = _chance_layers(_y("chance", y_title, scale), label_chance) if chance else []
    if (points["low"] < points["high"]).any():
        band = _shared(whole.mark_area(clip=True), num_series, 0.2)
        layers.append(band.encode(_y("low", y_title, scale), y2="high:Q"))
    if points["seed"].notna().any():
        seeds = _shared(base.transform_filter("datum.seed !== null").mark_line(strokeWidth=1), num_series, 0.6)
        layers.append(seeds.encode(_y("value", y_title, scale), detail="seed:N"))
    value = _y("value", y_title, scale)
    layers.append(_shared(whole.mark_line(strokeWidth=2.5), num_series, 1).encode(value))
    dots = _shared(whole.mark_point(filled=True, size=45), num_series, 1)
    names = {"series": series_are} if num_series > 1 else {}
    names |= {"title": "task"} if "title" in points else {}
    tooltip = [
        alt.Tooltip(f"{field}:N", title=name) for field, name in (names | {"when": "at", "shown": "value"}).items()
    ]
    return [*layers, dots.encode(value, tooltip=tooltip)]


def _shared(chart: alt.Chart, num_series: int, opacity: float) -> alt.Chart:
    """Token axis and colour by series; series that are not chosen in the legend fade."""
    if num_series == 1:
        return chart.encode(_x(), _color(1), opacity=alt.value(opacity))
    faded = alt.when(alt.param(name=LEGEND)).then(alt.value(opacity)).otherwise(alt.value(opacity * 0.12))
    return chart.encode(_x(), _color(num_series), opacity=faded)


def _chance_layers(y: alt.Y, labelled: bool) -> list[alt.Chart]:
    base = alt.Chart(alt.Data(values=[{"chance": 100 * CHANCE}]))
    rule = base.mark_rule(style="reference", strokeDash=[5, 4]).encode(y)
    text = base.mark_text(style="reference-label", align="right", dy=9, text="chance").encode(y, x=alt.value("width"))
    return [rule, text] if labelled else [rule]


def _x() -> alt.X:
    axis = alt.Axis(labelExpr=TOKEN_LABEL, labelOverlap="greedy", labelSeparation=6, grid=False)
    return alt.X("tokens:Q", axis=axis)


def _y(field: str, title: str | None, scale: alt.Scale) -> alt.Y:
    # An axis without a title names its unit in the labels.
    labels = alt.Undefined if title else "datum.label + '%'"
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, labelExpr=labels))


def _color(num_series: int) -> alt.Color:
    """By series. More than the eight colours that can be told apart become a gradient in the order of the series."""
    scale = alt.Scale(scheme="viridis") if num_series > len(LIGHT["range"]["category"]) else alt.Undefined
    legend = alt.Legend(title=None, orient="top", labelLimit=320, symbolOpacity=1) if num_series > 1 else None
    return alt.Color("series:N", sort=None, scale=scale, legend=legend)


def loss_scale(values: pd.Series) -> alt.Scale:
    """From round number to round number. Vega rounds the label of a lone value, so that it would be wrong."""
    if values.min() == values.max():
        return alt.Scale(domain=[math.floor(values.min()), math.floor(values.min()) + 1], nice=False)
    return alt.Scale(zero=False, nice=5)


def _percent_scale(points: pd.DataFrame, with_chance: bool) -> alt.Scale:
    """Rounded outward to 5 or 10 points around what there is to see."""
    values = pd.concat([points["low"], points["high"], points["value"]]).dropna()
    low = min(values.min(), 100 * CHANCE - 2) if with_chance else values.min()
    step = 5 if values.max() - low <= 35 else 10
    low, high = step * math.floor(low / step), step * math.ceil(values.max() / step)
    return alt.Scale(domain=[max(low, 0), min(max(high, low + step), 100)], nice=False)


def _all_points(series: Sequence[Series], tasks: Iterable[str], metric: str, scale: float) -> pd.DataFrame:
    """Points of all series with the words of their tooltip."""
    points = pd.concat([curve_points(each, tasks, metric, scale) for each in series], ignore_index=True)
    if points.empty:
        return points
    points["when"] = [f"{format_count(tokens)} {series[0].unit}" for tokens in points["anchor"]]
    form = {"acc": "{:.1f}%", "score": "{:.1f}"}.get(metric, "{:.3f}")
    values = points[["value", "low", "high", "spread"]].itertuples(index=False)
    points["shown"] = [
        form.format(value) + (f" ({form.format(low)} to {form.format(high)}: {spread})" if spread else "")
        for value, low, high, spread in values
    ]
    return points


def inline(frame: pd.DataFrame) -> alt.InlineData:
    """Rows as JSON values, NaN as null and numbers rounded to what a screen shows."""
    frame = frame.drop(columns=["anchor", "spread"], errors="ignore").round({"value": 4, "low": 4, "high": 4})
    return alt.InlineData(frame.astype(object).where(frame.notna(), None).to_dict("records"))
