"""What a setting does: the end of every recipe against each number that recipes differ in."""

from collections.abc import Iterator, Sequence

import altair as alt
import pandas as pd

from lmeff.analysis.charts.charts import PANEL_WIDTH, headline_tasks, inline
from lmeff.analysis.charts.series import Series, curve_points
from lmeff.analysis.charts.studies.named_lines import Panel, color_of, shape_of, side_by_side
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.held_out import same_held_out_text
from lmeff.quantities import format_tokens

FEWEST_VALUES = 3
MOST_LINES = 8
MOST_PANELS = 6
WIDE = 8
"""Above this ratio of the largest to the smallest value the axis is logarithmic."""
_NO_SETTINGS = ("seed", "name", "paths", "anchors", "evaluation", "checkpoints", "publish", "training")
"""Sections that say nothing about what a model learns from, or how."""


def sweep_figure(study: Study) -> dict | None:
    """Bits per byte of the held-out text, or where those cannot be compared the first score, against each number with three or
    more values. Points that differ in nothing else are joined."""
    settings = {each.label: dict(_numbers(each.runs[0].recipe)) for each in study.series}
    words = {each.label: dict(_words(each.runs[0].recipe)) for each in study.series}
    keys = list(dict.fromkeys(key for of_one in settings.values() for key in of_one))
    values = {key: {of_one[key] for of_one in settings.values() if key in of_one} for key in keys}
    varied = [key for key in keys if len(values[key]) >= FEWEST_VALUES][:MOST_PANELS]
    if not varied:
        return None
    metric, ends = _ends(study.series)
    if ends.empty:
        return None
    several = [key for key in keys if len(values[key]) > 1]
    named = [
        key
        for key in dict.fromkeys(key for each in words.values() for key in each)
        if len({each.get(key) for each in words.values()}) > 1
    ]
    charts = []
    for key in varied:
        points = ends[[key in settings[label] for label in ends["series"]]].copy()
        points["x"] = [settings[label][key] for label in points["series"]]
        points["line"] = [
            ", ".join(
                [str(words[label].get(name, "-")) for name in named]
                + [f"{name.rpartition('.')[2]} {settings[label].get(name, '-')}" for name in several if name != key]
            )
            or "all"
            for label in points["series"]
        ]
        if points["x"].nunique() >= FEWEST_VALUES:
            charts.append(_panel(points, key, metric))
    if not charts:
        return None
    spec = side_by_side(charts).resolve_scale(color="independent", shape="independent").to_dict()
    spec.pop("config", None)
    return {**spec, "usermeta": {}}


def _panel(points: pd.DataFrame, key: str, metric: str) -> Panel:
    lines = list(dict.fromkeys(points["line"]))
    name = key.rpartition(".")[2].replace("_", " ")
    is_wide = points["x"].min() > 0 and points["x"].max() / points["x"].min() >= WIDE
    scale = alt.Scale(type="log") if is_wide else alt.Scale(zero=False)
    x = alt.X("x:Q", title=name, scale=scale, axis=alt.Axis(values=sorted(set(points["x"])), format="~g", grid=False))
    y = alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart(inline(points[["series", "x", "value", "low", "high", "line", "when"]])).encode(x)
    told_apart = 1 < len(lines) <= MOST_LINES
    color = [color_of(lines), shape_of(lines)] if told_apart else []
    tooltip = [
        alt.Tooltip("series:N", title="run"),
        alt.Tooltip("x:Q", title=name),
        alt.Tooltip("value:Q", title=metric),
        alt.Tooltip("when:N", title="at"),
    ]
    bar = base.mark_rule().encode(alt.Y("low:Q", title=metric, scale=alt.Scale(zero=False)), *color[:1], y2="high:Q")
    line = base.mark_line(strokeWidth=1.5).encode(y, alt.Detail("line:N"), *color[:1])
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(y, *color, tooltip=tooltip)
    layers = [bar, line, dots] if len(lines) <= MOST_LINES else [bar, dots]
    return alt.layer(*layers, title=alt.TitleParams(f"{metric} by {name}", subtitle=key)).properties(
        width=PANEL_WIDTH, height=240
    )


def _ends(series: Sequence[Series]) -> tuple[str, pd.DataFrame]:
    """What is drawn, and its value at the last anchor of every series: the mean over seeds with its interval, or one run."""
    first = series[0].runs[0]
    tasks = headline_tasks(series)
    for task, metric, scale, words in (
        ("dev", "dev_bits_per_byte", 1.0, "Bits per byte"),
        *((task, "acc", 100.0, f"{task}, %") for task in tasks[:1]),
    ):
        if task == "dev" and not all(same_held_out_text(first, each.runs[0]) for each in series):
            continue
        points = pd.concat([curve_points(each, [task], metric, scale) for each in series], ignore_index=True)
        points = points[points["seed"].isna()].sort_values("tokens").groupby("series", as_index=False).last()
        if points["series"].nunique() > FEWEST_VALUES - 1:
            return words, points.assign(when=[f"{format_tokens(tokens)} tokens" for tokens in points["anchor"]])
    return "", pd.DataFrame()


def _leaves(recipe: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(recipe, dict):
        for key, value in recipe.items():
            if path or key not in _NO_SETTINGS:
                yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, recipe


def _numbers(recipe: dict) -> Iterator[tuple[str, float]]:
    for key, value in _leaves(recipe):
        if isinstance(value, bool):
            continue
        if isinstance(value, str):  # YAML 1.1 reads 3e-4 as text
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, int | float):
            yield key, float(value)


def _words(recipe: dict) -> Iterator[tuple[str, str]]:
    numbers = {key for key, _ in _numbers(recipe)}
    for key, value in _leaves(recipe):
        if isinstance(value, str) and key not in numbers:
            yield key, value
