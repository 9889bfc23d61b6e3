"""How training went: learning rate, gradient norm and throughput from the logs."""

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import series_color, series_dash, token_x
from lmeff.analysis.charts.panels import PANEL_WIDTH
from lmeff.analysis.charts.points import inline, labels
from lmeff.analysis.charts.series import logged
from lmeff.analysis.charts.studies.named_lines import side_by_side
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.token_axis import TokenAxis

CHARTS = {
    "learning_rate": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", "before clipping"),
    "tokens_per_second": ("Throughput", "tokens a second"),
}
NUM_POINTS = 120
"""Of each line of a run at most."""
MOST_POINTS = 3600
"""Of a panel: a page of a hundred runs stays small."""


def training_figure(study: Study) -> dict | None:
    """A panel for each; None where no run has a log."""
    num_points = max(12, min(NUM_POINTS, MOST_POINTS // len(study.runs)))
    charts = []
    for name, (title, subtitle) in CHARTS.items():
        frames = [
            logged(run, name, num_points).assign(series=each.label, seed=run.seed)
            for each in study.series
            for run in each.runs
        ]
        points = pd.concat(frames, ignore_index=True)
        if points.empty:
            continue
        is_log = name == "grad_norm" and points["value"].min() > 0
        scale = alt.Scale(type="log", nice=False) if is_log else alt.Scale(zero=name != "grad_norm")
        axis = alt.Axis(tickCount=5, format="~s" if name == "tokens_per_second" else "~g")
        line = alt.Chart(inline(points)).mark_line(strokeWidth=1.5, clip=True)
        charts.append(
            alt.layer(
                line.encode(
                    token_x(),
                    alt.Y("value:Q", title=title, scale=scale, axis=axis),
                    series_color(labels(study.series), legend_of_lines=True),
                    *series_dash(labels(study.series), legend_of_lines=True),
                    detail="seed:N",
                ),
                title=alt.TitleParams(title, subtitle=subtitle),
            ).properties(width=PANEL_WIDTH, height=190)
        )
    return TokenAxis(study.series, PANEL_WIDTH).finished(side_by_side(charts)) if charts else None
