"""The main figure: losses, and the accuracy of every headline task, against training tokens."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import curve_layers, loss_scale, percent_scale, shared, value_y, with_legend_click
from lmeff.analysis.charts.panels import PANEL_SPACING, PANEL_WIDTH, SUBTITLE_CHARACTERS, SUBTITLE_LINE_HEIGHT
from lmeff.analysis.charts.points import (
    all_points,
    has_pairs,
    headline_tasks,
    inline,
    interval_words,
    labels,
    shown_metric,
)
from lmeff.analysis.charts.series import MOST_LOG_POINTS, NUM_LOG_POINTS, Series, training_loss
from lmeff.analysis.charts.token_axis import TokenAxis
from lmeff.analysis.reading.comparable import clusters, loss_clusters, score_clusters
from lmeff.analysis.reading.held_out import mixture, same_held_out_text
from lmeff.analysis.reading.tasks import OTHER_METRICS
from lmeff.formats.losses import TRAINING_UNITS, UNITS

_NO_LOSS = pd.DataFrame({name: pd.Series(dtype=float) for name in ("series", "seed", "tokens", "value")})


class Panel(NamedTuple):
    layers: list[alt.Chart]
    points: pd.DataFrame
    title: str
    subtitle: str


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
    """The training losses of hybrid models, which are of masked and of next tokens together: a panel for each mixture."""
    hybrids = [each for each in series if _is_hybrid(each)]
    panels = []
    for alike in clusters(hybrids, lambda one, other: mixture(one.runs[0]) == mixture(other.runs[0])):
        training = pd.concat([training_loss(each, num_log_points(series)) for each in alike], ignore_index=True)
        if not training.duplicated(["series", "seed"]).any():  # one point makes no line
            continue
        title = f"Loss, {TRAINING_UNITS['hybrid']}"
        line = _training_line(training, series, title, loss_scale(training["value"]))
        names = "" if len(alike) == len(hybrids) else ", ".join(each.label for each in alike) + " alone, "
        words = names + "of masked and of causal rows together"
        panels.append(Panel([line], training, "Training loss, hybrid", words))
    return panels


def _training_line(training: pd.DataFrame, series: Sequence[Series], title: str, scale: alt.Scale) -> alt.Chart:
    line = alt.Chart(inline(training)).mark_line(strokeWidth=1, clip=True)
    return shared(line, labels(series), 0.45).encode(value_y("value", title, scale), detail="seed:N")


def num_log_points(series: Sequence[Series]) -> int:
    """So many points a line of a log has at most."""
    return min(NUM_LOG_POINTS, MOST_LOG_POINTS // sum(len(each.runs) for each in series))


def _is_hybrid(series: Series) -> bool:
    return series.runs[0].loss_kind == "hybrid"


def _band(points: pd.DataFrame) -> str:
    """What the bands of a panel are, in words that follow others."""
    return f"; band: {words}" if (words := interval_words(points)) else ""


def _accuracy_panel(series: Sequence[Series], task: str) -> Panel:
    groups = [each.group for each in series]
    apart = "; not scored alike, so not comparable" if len(score_clusters(groups, task)) > 1 else ""
    if (metric := shown_metric(series, task)) in OTHER_METRICS:
        panel = _score_panel(series, task, metric)
        return panel._replace(subtitle=panel.subtitle + apart)
    points = all_points(series, [task], "acc", 100)
    paired = has_pairs(series, [task])
    scale = percent_scale(points, paired)
    layers = curve_layers(points, "Correct, %", labels(series), scale, paired, label_chance=True)
    title = "Accuracy on minimal pairs" if paired else "Accuracy"
    return Panel(layers, points, title, task + _band(points) + apart)


def _score_panel(series: Sequence[Series], task: str, metric: str) -> Panel:
    points = all_points(series, [task], metric, 100)
    layers = curve_layers(points, "Score x 100", labels(series), alt.Scale(zero=False))
    return Panel(layers, points, "Score", f"{task}: {OTHER_METRICS[metric]}")
