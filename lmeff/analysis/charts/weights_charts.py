"""The small charts about weights: of one configuration by kind of parameter, of several side by side."""

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import curve_layers, loss_scale, with_legend_click
from lmeff.analysis.charts.panels import PANEL_SPACING, PANEL_WIDTH
from lmeff.analysis.charts.points import inline, labels
from lmeff.analysis.charts.series import Series, curve_points, joined_points
from lmeff.analysis.charts.token_axis import TokenAxis
from lmeff.analysis.statistics.tidy_table import WEIGHTS
from lmeff.quantities import format_short, format_tokens

KINDS = ("attention", "mlp", "embedding", "head")


class _Chart(NamedTuple):
    metric: str
    title: str
    unit: str


CHARTS = (
    _Chart("norm", "Norm", "Frobenius norm"),
    _Chart("effective_rank", "Effective rank", "Mean over matrices"),
    _Chart("change_from_previous", "Change since the anchor before", "Share of the length before"),
    _Chart("cosine_to_final", "Similarity to the final model", "Cosine"),
)


def weights_figure(series: Sequence[Series]) -> dict | None:
    """Norm, effective rank, change and similarity against training tokens; None when no weights were measured.

    One series is drawn by kind of parameter, several as a whole. Returns a Vega-Lite specification like `main_figure`.
    """
    drawn = {chart: _points(series, chart.metric) for chart in CHARTS}
    drawn = {chart: points for chart, points in drawn.items() if not points.empty}
    if not drawn:
        return None
    parts = list(dict.fromkeys(part for points in drawn.values() for part in points["series"]))
    lines, kind = (labels(series), "run") if len(series) > 1 else (parts, "part")
    charts: list[alt.LayerChart | alt.FacetChart] = []
    for chart, points in drawn.items():
        layers = curve_layers(points, chart.unit, lines, loss_scale(points["value"]), series_are=kind)
        if not charts and len(lines) > 1:
            layers = with_legend_click(layers)
        charts.append(
            alt.layer(*layers, data=inline(points), title=chart.title).properties(width=PANEL_WIDTH, height=170)
        )
    return TokenAxis(series, PANEL_WIDTH).finished(
        alt.concat(*charts, columns=2, spacing=PANEL_SPACING, bounds="flush")
    )


def _points(series: Sequence[Series], metric: str) -> pd.DataFrame:
    if len(series) > 1:
        parts = [joined_points(series, [WEIGHTS], metric)]
    else:
        parts = [curve_points(series[0], [WEIGHTS], f"{metric}_{kind}").assign(series=kind) for kind in KINDS]
    parts = [points for points in parts if not points.empty]
    if not parts:
        return pd.DataFrame()
    points = pd.concat(parts, ignore_index=True)
    points["when"] = [f"{format_tokens(tokens)} tokens" for tokens in points["anchor"]]
    small = metric.startswith(("change", "cosine"))
    points["shown"] = [f"{value:.4f}" if small else format_short(value) for value in points["value"]]
    return points
