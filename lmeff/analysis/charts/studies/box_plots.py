"""Box plots: how much paradigms, or seeds, of one model differ."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lmeff.analysis.charts.layers import series_color
from lmeff.analysis.charts.panels import SUBTITLE_CHARACTERS
from lmeff.analysis.charts.points import headline_tasks, labels, score_points
from lmeff.analysis.charts.studies.grouped_phenomena import LABEL_PIXELS, WIDTH
from lmeff.analysis.charts.studies.last_scores import last_scores
from lmeff.analysis.charts.studies.named_lines import as_figure
from lmeff.analysis.charts.studies.scored_alike import score_title, scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.tasks import paradigms_of
from lmeff.analysis.statistics.acquisition import CHANCE

FEWEST_PARADIGMS = 5
FEWEST_SEEDS = 3
MOST_BOXES = 40
ROW_HEIGHT = 26
WHISKERS = 1.5
"""Reach of the whiskers in lengths of the box (Tukey 1977); what lies beyond is drawn as points."""


def paradigm_boxes(study: Study) -> dict[str, Any] | None:
    """A box for each model, of its paradigms at the last anchor that has each."""
    found = last_scores(study.series, paradigms_of) if len(study.series) <= MOST_BOXES else None
    if found is None or len(found.titles) < FEWEST_PARADIGMS:
        return None
    groups = {model: found.points[found.points["series"] == model] for model in found.models}
    values = {model: dict(zip(rows["title"], rows["value"], strict=True)) for model, rows in groups.items()}
    words = f"{len(found.titles)} paradigms, each at the last anchor that has it; of several seeds their mean"
    chance = 100 * CHANCE if found.are_pairs else None
    return _figure(study, "Paradigms of each model", words, "Correct, %", values, "paradigm", chance, found.left_out)


def seed_boxes(study: Study) -> dict[str, Any] | None:
    """A box for each recipe with three seeds or more, of their scores on the first task at the last of the anchors that most of
    them have."""
    tasks = headline_tasks(study.series)[:1]
    several = [each for each in study.series if len(each.runs) >= FEWEST_SEEDS]
    if not tasks or not several:
        return None
    alike, left_out = scored_alike(several, tasks)
    points = score_points(alike, tasks[0]) if alike else pd.DataFrame()
    if points.empty:
        return None
    values: dict[str, dict[str, float]] = {}
    for model, rows in points.groupby("series", sort=False):
        of_seeds = rows[rows["seed"].notna()]
        counts = of_seeds.groupby("tokens")["seed"].nunique()
        whole = counts[counts == counts.max()]
        if len(whole) and whole.iloc[-1] >= FEWEST_SEEDS:
            last = of_seeds[of_seeds["tokens"] == whole.index[-1]]
            values[str(model)] = {f"{seed:.0f}": value for seed, value in zip(last["seed"], last["value"], strict=True)}
    words = "single seeds, at the last of the anchors that most seeds of a recipe have"
    return _figure(
        study,
        "Seeds of each recipe",
        words,
        score_title(alike, tasks[0]),
        values,
        "seed",
        None,
        left_out,
        all_points=True,
    )


def box(values: Sequence[float]) -> dict[str, float]:
    """Quartiles between which numbers are interpolated linearly, and the last values within reach of the whiskers."""
    low, middle, high = (float(end) for end in np.percentile(values, [25, 50, 75]))
    reach = WHISKERS * (high - low)
    inside = [value for value in values if low - reach <= value <= high + reach]
    return {"q1": low, "median": middle, "q3": high, "from": min(inside), "to": max(inside)}


def _figure(
    study: Study,
    title: str,
    words: str,
    x_title: str,
    values: Mapping[str, Mapping[str, float]],
    what: str,
    chance: float | None,
    left_out: str,
    all_points: bool = False,
) -> dict[str, Any] | None:
    """`values`: by model what is in its box, by name."""
    if not values or len(values) > MOST_BOXES:
        return None
    boxes, points = [], []
    for model, of_model in values.items():
        ends = box(list(of_model.values()))
        boxes.append({"series": model, "n": len(of_model), **{name: round(end, 3) for name, end in ends.items()}})
        points += [
            {"series": model, what: name, "value": round(value, 3)}
            for name, value in of_model.items()
            if all_points or not ends["from"] <= value <= ends["to"]
        ]
    axis = alt.Axis(labelLimit=260, domain=False, ticks=False)
    y = alt.Y("series:N", title=None, sort=list(values), axis=axis)
    color = series_color(labels(study.series))
    color.legend = None  # type: ignore[assignment]  # the axis names them
    base = alt.Chart(alt.InlineData(values=boxes)).encode(y, color)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=x_title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6, grid=True))

    names = {"series": "run", "n": f"{what}s", "median": "median", "q1": "quartiles from", "q3": "to"}
    tooltip = [alt.Tooltip(f"{name}:{'N' if name == 'series' else 'Q'}", title=said) for name, said in names.items()]
    of_point = [alt.Tooltip("series:N", title="run"), alt.Tooltip(f"{what}:N"), alt.Tooltip("value:Q", title=x_title)]
    layers: list[Any] = [
        base.mark_rule(strokeWidth=1.5).encode(x("from"), x2="q1:Q"),
        base.mark_rule(strokeWidth=1.5).encode(x("q3"), x2="to:Q"),
        base.mark_bar(height=13, fillOpacity=0.3, strokeWidth=1.5, filled=True).encode(
            x("q1"), stroke=color, x2="q3:Q", tooltip=tooltip
        ),
        base.mark_tick(thickness=3, size=13, opacity=1).encode(x("median")),
    ]
    if points:
        dots = alt.Chart(alt.InlineData(values=points)).mark_point(filled=True, size=26, opacity=0.8)
        layers.append(dots.encode(y, x("value"), color, tooltip=of_point))
    dashed = ""
    if chance is not None:
        rule = alt.Chart(alt.InlineData(values=[{"value": chance}]))
        layers.insert(0, rule.mark_rule(style="reference", strokeDash=[5, 4]).encode(x("value")))
        dashed = "dashed: chance"
    drawn = "points: single seeds" if all_points else f"points: {what}s beyond {WHISKERS} times the box"
    said = [words, "box: quartiles and median", drawn, dashed, left_out]
    subtitle = textwrap.wrap("; ".join(filter(None, said)), SUBTITLE_CHARACTERS + 25)
    chart = alt.layer(*layers, title=alt.TitleParams(title, subtitle=subtitle, frame="bounds"))
    spec = as_figure(chart.properties(width=WIDTH, height=alt.Step(ROW_HEIGHT)))
    spec["usermeta"]["label_pixels"] = LABEL_PIXELS
    return spec
