"""Learning curves as Vega-Lite charts, made with Altair. Colors and type come from a theme that a page may set."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from lmeff.analysis.charts.series import MOST_LOG_POINTS, NUM_LOG_POINTS, Series, curve_points, training_loss
from lmeff.analysis.charts.themes import LIGHT
from lmeff.analysis.charts.token_axis import TokenAxis
from lmeff.analysis.reading.comparable import clusters, loss_clusters, score_clusters
from lmeff.analysis.reading.held_out import same_held_out_text
from lmeff.analysis.reading.tasks import OTHER_METRICS, has_pair_scores, headline_metric
from lmeff.analysis.statistics.acquisition import CHANCE
from lmeff.formats.losses import UNITS
from lmeff.quantities import format_tokens

_NO_LOSS = pd.DataFrame({name: pd.Series(dtype=float) for name in ("series", "seed", "tokens", "value")})
HEADER_CHARACTERS = 34
HEADER_LABEL = "split(trim(replace(datum.label, regexp('(.{1,WIDTH})( |$)', 'g'), '$1\\n')), '\\n')"
"""Breaks the name of a small panel into lines of at most so many characters. Page.js sets the number for its width."""
LEGEND = "chosen"
"""Name of the selection that a click into the legend makes."""
TOKEN_LABEL = "replace(format(datum.value, '~s'), 'G', 'B')"
"""Axis labels such as 25M and 1.5B, with the letters that recipes use."""
PANEL_WIDTH, SMALL_PANEL_WIDTH = 400, 230
PANEL_SPACING = 100
"""Between plotting areas, with room for an axis and, below it, a title."""
SUBTITLE_CHARACTERS = 66
"""What fits over a panel in one line; the page breaks them anew for its width."""
SUBTITLE_LINE_HEIGHT = 15


def main_figure(series: Sequence[Series]) -> dict | None:
    """Loss, and the accuracy of every headline task, against training tokens; None when nothing was measured yet.

    Losses that cannot be compared have panels of their own, beside one of bits per byte where those can. Returns a Vega-Lite
    specification whose `usermeta` says how to draw the token axis, and holds the subtitles of the panels as one line each.
    """
    panels = [*_loss_panels(series), *(_accuracy_panel(series, task) for task in headline_tasks(series))]
    if not panels:
        return None
    if len(series) > 1:
        panels[0] = panels[0]._replace(layers=with_legend_click(panels[0].layers))
    subtitles = [textwrap.wrap(panel.subtitle, SUBTITLE_CHARACTERS) for panel in panels]
    charts = [
        alt.layer(*panel.layers, data=inline(panel.points), title=alt.TitleParams(panel.title, subtitle=subtitle or ""))
        for panel, subtitle in zip(panels, subtitles, strict=True)
    ]
    charts = [chart.properties(width=PANEL_WIDTH, height=280) for chart in charts]
    spacing = PANEL_SPACING + SUBTITLE_LINE_HEIGHT * (max(map(len, subtitles)) - 1)
    spec = TokenAxis(series, PANEL_WIDTH).finished(alt.concat(*charts, columns=2, spacing=spacing, bounds="flush"))
    spec["usermeta"]["subtitles"] = [panel.subtitle for panel in panels]
    return spec


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
    layers = curve_layers(points, None, labels(series), _percent_scale(points, paired), paired)
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


def headline_tasks(series: Sequence[Series]) -> list[str]:
    """Headline tasks with an accuracy or another score, over all runs."""
    tasks = dict.fromkeys(task for each in series for run in each.runs for task in run.headline_tasks)
    return [task for task in tasks if shown_metric(series, task)]


def shown_metric(series: Sequence[Series], task: str) -> str | None:
    """The metric that a task is shown by."""
    return headline_metric({name for each in series for name in each.table[each.table["task"] == task]["metric"]})


def labels(series: Sequence[Series]) -> list[str]:
    return [each.label for each in series]


def has_pairs(series: Sequence[Series], tasks: Sequence[str] | dict[str, str]) -> bool:
    """Whether scores of minimal pairs are behind the tasks, so that guessing gets one half of them right."""
    return any(has_pair_scores(run, task) for each in series for run in each.runs for task in tasks)


class Panel(NamedTuple):
    layers: list[alt.Chart]
    points: pd.DataFrame
    title: str
    subtitle: str


def with_legend_click(layers: list[alt.Chart]) -> list[alt.Chart]:
    """One layer gets the selection that a click into the legend changes; the others refer to it by name."""
    return [*layers[:-1], layers[-1].add_params(alt.selection_point(name=LEGEND, fields=["series"], bind="legend"))]


def _loss_panels(series: Sequence[Series]) -> list[Panel]:
    """One where all losses can be compared; otherwise one of bits per byte for every text that several of them share, then one
    for each tokenizer, text and kind of loss."""
    by_label = {each.label: each for each in series}
    apart = [[by_label[group.label] for group in members] for members in loss_clusters([each.group for each in series])]
    if len(apart) < 2:
        panels = [panel for members in apart if (panel := _loss_panel(series, members, ""))]
        return [*panels, *_hybrid_panels(series)]
    panels = []
    for texts in clusters(apart, lambda one, other: same_held_out_text(one[0].runs[0], other[0].runs[0])):
        by_bytes = [points for members in texts if not (points := _bits_per_byte(members)).empty]
        if len(by_bytes) > 1:
            points = pd.concat(by_bytes)
            layers = curve_layers(points, "Bits per byte", labels(series), loss_scale(points["value"]))
            panels.append(
                Panel(layers, points, "Compression", "of one held-out text by other tokenizers" + _band(points))
            )
    for members in apart:
        names = ", ".join(each.label for each in members)
        if panel := _loss_panel(series, members, f"{names} alone, not comparable with the others; "):
            panels.append(panel)
    return [*panels, *_hybrid_panels(series)]


def _bits_per_byte(members: Sequence[Series]) -> pd.DataFrame:
    return all_points(members, ["dev"], "dev_bits_per_byte", 1)


def _loss_panel(series: Sequence[Series], members: Sequence[Series], before: str) -> Panel | None:
    metric = members[0].runs[0].held_out_metric
    points = all_points(members, ["dev"], metric, 1)
    # What a hybrid model is trained on is not what its held-out loss is of.
    training = pd.concat(
        [training_loss(each, num_log_points(series)) for each in members if not _is_hybrid(each)] or [_NO_LOSS]
    )
    if points.empty and training.empty:
        return None
    layers, scale = [], loss_scale(pd.concat([points["value"], training["value"]]))
    title = f"Loss, {UNITS[metric]}"
    if not training.empty:
        layers.append(_training_line(training, series, title, scale))
    if not points.empty:
        layers += curve_layers(points, title, labels(series), scale)
    words = [*(["thin: training text"] if len(training) else []), *(["thick: held-out text"] if len(points) else [])]
    return Panel(layers, points, "Loss", before + "; ".join(reversed(words)) + _band(points))


def _hybrid_panels(series: Sequence[Series]) -> list[Panel]:
    """The training losses of hybrid models, which are of masked and of next tokens together."""
    hybrids = [each for each in series if _is_hybrid(each)]
    training = pd.concat(
        [training_loss(each, num_log_points(series)) for each in hybrids] or [_NO_LOSS], ignore_index=True
    )
    if not training.duplicated(["series", "seed"]).any():  # one point makes no line
        return []
    line = _training_line(training, series, "Loss, nats per position", loss_scale(training["value"]))
    return [Panel([line], training, "Training loss, hybrid", "of masked and of causal rows together")]


def _training_line(training: pd.DataFrame, series: Sequence[Series], title: str, scale: alt.Scale) -> alt.Chart:
    line = alt.Chart(inline(training)).mark_line(strokeWidth=1, clip=True)
    return _shared(line, labels(series), 0.45).encode(_y("value", title, scale), detail="seed:N")


def num_log_points(series: Sequence[Series]) -> int:
    """So many points a line of a log has at most."""
    return min(NUM_LOG_POINTS, MOST_LOG_POINTS // sum(len(each.runs) for each in series))


def _is_hybrid(series: Series) -> bool:
    return series.runs[0].loss_kind == "hybrid"


def _band(points: pd.DataFrame) -> str:
    """What the bands of a panel are, in words that follow others."""
    return f"; band: {words}" if (words := interval_words(points)) else ""


def interval_words(points: pd.DataFrame) -> str:
    """What the intervals of points are over, each kind; empty where there is none."""
    return " or ".join(words for words in dict.fromkeys(points["spread"]) if words)


def _accuracy_panel(series: Sequence[Series], task: str) -> Panel:
    groups = [each.group for each in series]
    apart = "; not scored alike, so not comparable" if len(score_clusters(groups, task)) > 1 else ""
    if (metric := shown_metric(series, task)) in OTHER_METRICS:
        panel = _score_panel(series, task, metric)
        return panel._replace(subtitle=panel.subtitle + apart)
    points = all_points(series, [task], "acc", 100)
    paired = has_pairs(series, [task])
    scale = _percent_scale(points, paired)
    layers = curve_layers(points, "Correct, %", labels(series), scale, paired, label_chance=True)
    title = "Accuracy on minimal pairs" if paired else "Accuracy"
    return Panel(layers, points, title, task + _band(points) + apart)


def _score_panel(series: Sequence[Series], task: str, metric: str) -> Panel:
    points = all_points(series, [task], metric, 100)
    layers = curve_layers(points, "Score x 100", labels(series), alt.Scale(zero=False))
    return Panel(layers, points, "Score", f"{task}: {OTHER_METRICS[metric]}")


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
    layers = _chance_layers(_y("chance", y_title, scale), label_chance) if chance else []
    if (points["low"] < points["high"]).any():
        band = _shared(whole.mark_area(clip=True), lines, 0.2)
        layers.append(band.encode(_y("low", y_title, scale), y2="high:Q"))
    if points["seed"].notna().any():
        seeds = _shared(base.transform_filter("datum.seed !== null").mark_line(strokeWidth=1), lines, 0.6)
        layers.append(seeds.encode(_y("value", y_title, scale), detail="seed:N"))
    value = _y("value", y_title, scale)
    layers.append(_shared(whole.mark_line(strokeWidth=2.5), lines, 1).encode(value))
    dots = _shared(whole.mark_point(filled=True, size=45), lines, 1)
    names = {"series": series_are} if len(lines) > 1 else {}
    names |= {"title": "task"} if "title" in points else {}
    tooltip = [
        alt.Tooltip(f"{field}:N", title=name) for field, name in (names | {"when": "at", "shown": "value"}).items()
    ]
    return [*layers, dots.encode(value, tooltip=tooltip)]


def _shared(chart: alt.Chart, lines: Sequence[str], opacity: float) -> alt.Chart:
    """Token axis and color by series; series that are not chosen in the legend fade."""
    if len(lines) == 1:
        return chart.encode(token_x(), series_color(lines), opacity=alt.value(opacity))
    faded = alt.when(alt.param(name=LEGEND)).then(alt.value(opacity)).otherwise(alt.value(opacity * 0.12))
    return chart.encode(token_x(), series_color(lines), opacity=faded)


def _chance_layers(y: alt.Y, labeled: bool) -> list[alt.Chart]:
    base = alt.Chart(alt.Data(values=[{"chance": 100 * CHANCE}]))
    rule = base.mark_rule(style="reference", strokeDash=[5, 4]).encode(y)
    text = base.mark_text(style="reference-label", align="right", dy=9, text="chance").encode(y, x=alt.value("width"))
    return [rule, text] if labeled else [rule]


def token_x() -> alt.X:
    """The channel that `TokenAxis` completes."""
    axis = alt.Axis(labelExpr=TOKEN_LABEL, labelOverlap="greedy", labelSeparation=6, grid=False)
    return alt.X("tokens:Q", axis=axis)


def _y(field: str, title: str | None, scale: alt.Scale) -> alt.Y:
    # An axis without a title names its unit in the labels.
    labels = alt.Undefined if title else "datum.label + '%'"
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, labelExpr=labels))


def series_color(lines: Sequence[str]) -> alt.Color:
    """By series. More than the eight colors that can be told apart become a gradient in the order of the series."""
    scheme = "viridis" if len(lines) > len(LIGHT["range"]["category"]) else alt.Undefined
    scale = alt.Scale(domain=list(lines), scheme=scheme)
    legend = alt.Legend(title=None, orient="top", labelLimit=0, symbolOpacity=1) if len(lines) > 1 else None
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


def score_points(series: Sequence[Series], task: str) -> pd.DataFrame:
    """The points of a task's curves by the metric that it is shown by, times 100."""
    return all_points(series, [task], shown_metric(series, task) or "acc", 100)


def all_points(series: Sequence[Series], tasks: Iterable[str], metric: str, scale: float = 1.0) -> pd.DataFrame:
    """Points of all series with the words of their tooltip."""
    points = pd.concat([curve_points(each, tasks, metric, scale) for each in series], ignore_index=True)
    if points.empty:
        return points
    points["when"] = [f"{format_tokens(tokens)} {series[0].unit}" for tokens in points["anchor"]]
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
