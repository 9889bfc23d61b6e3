"""How early scores tell the end: agreement, errors, and predictions beside what came of them."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from lmeff.analysis.charts.panels import PANEL_WIDTH
from lmeff.analysis.charts.points import inline
from lmeff.analysis.charts.studies.named_lines import (
    Panel,
    color_of,
    line_panel,
    shape_of,
    side_by_side,
    tooltip,
    with_own_legends,
)
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.token_axis import TokenAxis
from lmeff.quantities import format_tokens

_CORRELATIONS = {
    "pooled": "all runs together",
    "within": "within a corpus",
    "seed_means": "within, by means over seeds",
}
_DECISIONS = {
    "pooled": "all runs",
    "seed_means": "within a corpus, by means",
    "sizes": "of two sizes",
    "vocabularies": "of two vocabularies",
}
PREDICTORS = {
    "stack": "stack",
    "last_value": "last value",
    "mean_gain": "+ mean gain",
    "same_corpus_gain": "+ gain of its corpus",
    "design_only": "design, no score",
    "pooling": "pooling",
    "shapes": "average of shapes",
}
PROTOCOLS = {
    "P1": "all other recipes finished",
    "P2": "one recipe of its corpus finished",
    "P3": "nothing of its corpus finished",
}
_LOG_TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
NUM_CUTOFFS = 4
"""Panels of predictions beside the end."""


def agreement_figure(study: Study) -> dict | None:
    """Rank correlations with the end, and the share of pairs that are ordered as in the end, by cut-off."""
    if not study.prediction:
        return None
    rows = _by_tokens(study, pd.DataFrame(study.prediction["agreement"]))
    target = study.prediction["target"]["name"]
    steps = {one.tokens_per_step for one in study.observations} - {None}
    differing = "; tokens per step differ" if len(steps) > 1 else ""
    charts = []
    for statistic, names, title, y_title, scale in (
        ("spearman", _CORRELATIONS, "Rank correlation with the end", "Spearman", alt.Scale(domainMin=0, domainMax=1)),
        ("decision_accuracy", _DECISIONS, "Pairs ordered as in the end", "%", alt.Scale(domainMin=0, domainMax=100)),
    ):
        points = rows[(rows["statistic"] == statistic) & rows["scope"].isin(list(names))].copy()
        if points.empty:
            continue
        if statistic == "decision_accuracy":
            points[["value", "low", "high"]] *= 100
        elif points[["value", "low"]].min().min() < 0:
            scale = alt.Scale(domain=[-1, 1], nice=False)
        points["line"] = points["scope"].map(names)
        points["shown"] = _shown(points, ".2f" if statistic == "spearman" else ".0f")
        points.loc[points["scope"].isin(["sizes", "vocabularies"]), ["low", "high"]] = float("nan")
        subtitle = f"{study.prediction['task']}; the end: {target}; {_over_recipes(points)}{differing}"
        lines = [name for name in names.values() if name in set(points["line"])]
        bounds = _bounds_of_pairs(study.prediction) if statistic == "decision_accuracy" else None
        charts.append(line_panel(_columns(points), lines, title, subtitle, y_title, scale, bounds))
    return _finished(study, charts, own_legends=True)


def errors_figure(study: Study) -> dict | None:
    """Mean absolute error of every predictor by cut-off, for each of what may be known of other runs."""
    if not study.prediction or not study.prediction["errors"]:
        return None
    rows = _by_tokens(study, pd.DataFrame(study.prediction["errors"]))
    rows[["value", "low", "high"]] = 100 * rows[["mae", "low", "high"]]
    rows["shown"] = _shown(rows, ".2f")
    rows["line"] = rows["predictor"].map(PREDICTORS)
    rows.loc[rows["predictor"] != "stack", ["low", "high"]] = float("nan")
    # The errors of the first cut-offs are many times those of the last ones.
    scale = alt.Scale(type="log", nice=False)
    lines = [name for name in PREDICTORS.values() if name in set(rows["line"])]
    floor = _known({"seeds alone": _value(study.prediction["ceilings"], scope="error_floor")})
    charts = []
    for protocol, words in PROTOCOLS.items():
        points = rows[(rows["protocol"] == protocol) & rows["line"].notna() & (rows["value"] > 0)]
        if not points.empty:
            subtitle = f"{study.prediction['task']}; {words}; {_over_recipes(points)}"
            title = "Mean absolute error of the stack and others"
            charts.append(
                line_panel(_columns(points), lines, title, subtitle, "Points", scale, floor, values=_LOG_TICKS)
            )
    return _finished(study, charts)


def predicted_figure(study: Study) -> dict | None:
    """What the stack says of every finished run from the scores up to a cut-off, its own recipe held out, beside the end."""
    rows = pd.DataFrame(study.hindcast)
    if rows.empty:
        return None
    task = study.observations[0].task
    values = ["value", "low80", "high80", "end"]
    rows[values] = (100 * rows[values]).round(3)
    rows.loc[~rows["calibrated"], ["low80", "high80"]] = float("nan")
    cutoffs = sorted(rows["cutoff_tokens"].unique())
    chosen = sorted({cutoffs[round(i * (len(cutoffs) - 1) / (NUM_CUTOFFS - 1))] for i in range(NUM_CUTOFFS)})
    ends = [min(rows["end"].min(), rows["value"].min()), max(rows["end"].max(), rows["value"].max())]
    corpora = sorted(rows["corpus"].unique())
    scale = alt.Scale(domain=[ends[0] - 0.5, ends[1] + 0.5], nice=False)
    charts = []
    for cutoff in chosen:
        points = rows[rows["cutoff_tokens"] == cutoff]
        error = (points["value"] - points["end"]).abs().mean()
        sure = points[points["calibrated"]]
        inside = ((sure["low80"] <= sure["end"]) & (sure["end"] <= sure["high80"])).mean()
        covered = f"{inside:.0%} of 80% intervals hold the end" if len(sure) else "no calibrated interval"
        base = alt.Chart(inline(points[["run", "corpus", *values]]))
        x = alt.X("value:Q", title="Predicted, %", scale=scale, axis=alt.Axis(tickCount=5, grid=True))
        y = alt.Y("end:Q", title="In the end, %", scale=scale, axis=alt.Axis(tickCount=5))
        diagonal = alt.Chart(alt.Data(values=[{"value": end, "end": end} for end in scale.to_dict()["domain"]]))
        bars = (
            base.transform_filter("isValid(datum.low80)")
            .mark_rule(clip=True, opacity=0.35)
            .encode(alt.X("low80:Q", title="Predicted, %", scale=scale), y, color_of(corpora, "corpus"), x2="high80:Q")
        )
        dots = base.mark_point(filled=True, size=55, clip=True).encode(
            x, y, color_of(corpora, "corpus"), shape_of(corpora, "corpus"), tooltip=tooltip("run", "value", "end")
        )
        title = alt.TitleParams(
            f"From {format_tokens(int(cutoff))} {study.series[0].unit}",
            subtitle=[f"{task}; {len(points)} runs; mean absolute error {error:.2f} points", covered],
        )
        line = diagonal.mark_line(style="reference", strokeDash=[5, 4], strokeWidth=1, color="#888").encode(x, y)
        charts.append(alt.layer(line, bars, dots, title=title).properties(width=PANEL_WIDTH, height=300))
    return _finished(study, charts)


def _finished(study: Study, charts: list[Panel], own_legends: bool = False) -> dict | None:
    if not charts:
        return None
    together = with_own_legends(charts) if own_legends else side_by_side(charts)
    return TokenAxis(study.series, PANEL_WIDTH).finished(together)


def _by_tokens(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.assign(tokens=rows["cutoff_tokens"])
    return rows.assign(when=[f"{format_tokens(int(tokens))} {study.series[0].unit}" for tokens in rows["tokens"]])


def _columns(rows: pd.DataFrame) -> pd.DataFrame:
    known = rows[rows["value"].notna()]
    return known[["line", "tokens", "value", "low", "high", "when", "shown"]]


def _shown(rows: pd.DataFrame, form: str) -> list[str]:
    return [
        format(value, form)
        + ("" if pd.isna(low) else f" ({format(low, form)} to {format(high, form)})")
        + f", n {n:.0f}"
        for value, low, high, n in rows[["value", "low", "high", "n"]].astype(float).itertuples(index=False)
    ]


def _over_recipes(points: pd.DataFrame) -> str:
    return "band: 95% interval over recipes" if points["low"].notna().any() else "too few recipes for an interval"


def _bounds_of_pairs(prediction: dict[str, Any]) -> dict[str, float]:
    """What pairs of recipes of one corpus, by their means, are ordered by at best, and with no checkpoint at all."""
    values = {
        "ceiling by means": _value(prediction["ceilings"], scope="seed_means"),
        "bigger wins": _value(prediction["rules"], rule="bigger_wins", scope="within"),
    }
    return _known(values)


def _value(rows: Sequence[dict], **wanted: str) -> float | None:
    return next((row["value"] for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: 100 * value for name, value in values.items() if value}
