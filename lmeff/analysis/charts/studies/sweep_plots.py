"""What a setting does: how far every recipe has come against each number that recipes differ in."""

import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeGuard

import altair as alt
import pandas as pd

from lmeff.analysis.charts.panels import PANEL_WIDTH, SUBTITLE_CHARACTERS
from lmeff.analysis.charts.points import all_points, headline_tasks, inline, interval_words, score_points
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.studies.named_lines import (
    Panel,
    as_figure,
    color_of,
    shape_of,
    side_by_side,
    with_whole_subtitles,
)
from lmeff.analysis.charts.studies.scored_alike import score_title, scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.held_out import same_held_out_text
from lmeff.analysis.reading.runs import Run

FEWEST_VALUES = 3
MOST_LINES = 8
MOST_PANELS = 6
WIDE = 8
"""Above this ratio of the largest to the smallest value the axis is logarithmic."""
_NO_SETTINGS = ("seed", "name", "deterministic", "paths", "evaluation", "checkpoints", "publish")
"""Sections that say nothing about what a model learns from, or how."""
_EDGE = 16
"""Pixels between the outermost points and the edge."""
_LONGEST_VALUE = 24
"""Characters of a value in the name of a line; longer ones are numbered."""

Settings = dict[str, float | str]
"""Of one recipe by path, such as `model.size`: numbers, and everything else as text."""


def sweep_figure(study: Study) -> dict | None:
    """Bits per byte of the held-out text, or where those cannot be compared the first score, against each number with three or
    more values. Points that differ in nothing else are joined."""
    settings: dict[str, Settings] = {each.label: settings_of(each.runs[0]) for each in study.series}
    keys = list(
        dict.fromkeys(key for of_one in settings.values() for key, value in of_one.items() if _is_number(value))
    )
    values = {key: {of_one[key] for of_one in settings.values() if _is_number(of_one.get(key))} for key in keys}
    varied = [key for key in keys if len(values[key]) >= FEWEST_VALUES][:MOST_PANELS]
    if not varied or (ends := _ends(study.series)) is None:
        return None
    charts = []
    for key in varied:
        points = ends.points[[_is_number(settings[label].get(key)) for label in ends.points["series"]]].copy()
        names = line_names({label: settings[label] for label in points["series"]}, key)
        points["x"] = [settings[label][key] for label in points["series"]]
        points["line"] = [names[label] for label in points["series"]]
        if points["x"].nunique() >= FEWEST_VALUES:
            charts.append(_panel(*_joined(points, ends), key))
    if not charts:
        return None
    together = side_by_side(charts).resolve_scale(color="independent", shape="independent")
    return with_whole_subtitles(as_figure(together))


def line_names(settings: Mapping[str, Settings], key: str) -> dict[str, str]:
    """By recipe everything but `key` that recipes differ in: those with one name differ in `key` alone."""
    others = {name: None for of_one in settings.values() for name in of_one if name != key}
    parts: dict[str, list[str]] = {label: [] for label in settings}
    for name in others:
        kinds = list(dict.fromkeys(of_one.get(name) for of_one in settings.values()))
        if len(kinds) > 1:
            for label, of_one in settings.items():
                parts[label].append(_said(name.rpartition(".")[2], of_one.get(name), kinds))
    return {label: ", ".join(words) or "all" for label, words in parts.items()}


def _said(name: str, value: float | str | None, kinds: Sequence[float | str | None]) -> str:
    if value is None:
        return f"no {name}"
    words = repr(value).removesuffix(".0") if _is_number(value) else str(value)
    if len(words) > _LONGEST_VALUE:
        return f"{name} #{kinds.index(value) + 1}"
    return words if words.isidentifier() and words not in ("true", "false") else f"{name} {words}"


class _Ends(NamedTuple):
    """What recipes have come to at one anchor."""

    title: str
    points: pd.DataFrame
    words: str
    """At which anchor, what the intervals are over, and what was left out."""


def _joined(points: pd.DataFrame, ends: _Ends) -> tuple[pd.DataFrame, _Ends]:
    """Where a line has enough values, a recipe that is alone on its own would only stand between lines: it is left out, and
    said to be."""
    num_values = points.groupby("line")["x"].transform("nunique")
    alone = points["series"][num_values == 1].nunique()
    if num_values.max() < FEWEST_VALUES or not alone:
        return points, ends
    words = f"left out: {alone} that no other is joined with"
    return points[num_values > 1], ends._replace(words=f"{ends.words}; {words}")


def _panel(points: pd.DataFrame, ends: _Ends, key: str) -> Panel:
    lines = list(dict.fromkeys(points["line"]))
    name = key.rpartition(".")[2].replace("_", " ")
    is_wide = points["x"].min() > 0 and points["x"].max() / points["x"].min() >= WIDE
    scale = alt.Scale(type="log" if is_wide else "linear", zero=False, nice=False, padding=_EDGE)
    x = alt.X("x:Q", title=name, scale=scale, axis=alt.Axis(values=sorted(set(points["x"])), format=".6~g", grid=False))
    y = alt.Y("value:Q", title=ends.title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart(inline(points[["series", "task", "x", "value", "low", "high", "line", "when", "shown"]])).encode(x)
    told_apart = 1 < len(lines) <= MOST_LINES
    color = [color_of(lines), shape_of(lines)] if told_apart else []
    tooltip = [
        alt.Tooltip("series:N", title="run"),
        alt.Tooltip("x:Q", title=name),
        alt.Tooltip("shown:N", title="value"),
        alt.Tooltip("when:N", title="at"),
    ]
    low = alt.Y("low:Q", title=ends.title, scale=alt.Scale(zero=False))
    bar = base.mark_rule(strokeWidth=1.5).encode(low, *color[:1], y2="high:Q")
    line = base.mark_line(strokeWidth=1.5).encode(y, alt.Detail("line:N"), *color[:1])
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(y, *color, tooltip=tooltip)
    layers = [bar, line, dots] if len(lines) <= MOST_LINES else [bar, dots]
    title = alt.TitleParams(
        f"{ends.title} by {name}", subtitle=textwrap.wrap(f"{key}; {ends.words}", SUBTITLE_CHARACTERS)
    )
    return alt.layer(*layers, title=title).properties(width=PANEL_WIDTH, height=240)


def _ends(series: Sequence[Series]) -> _Ends | None:
    """What is drawn, at the last anchor that all recipes have: the mean over seeds with its interval, or one run."""
    first = series[0].runs[0]
    if all(same_held_out_text(first, each.runs[0]) for each in series):
        points = all_points(series, ["dev"], "dev_bits_per_byte")
        if found := _at_one_anchor(points, "Bits per byte", ""):
            return found
    for task in headline_tasks(series)[:1]:
        alike, left_out = scored_alike(series, [task])
        if len(alike) < FEWEST_VALUES:
            return None
        return _at_one_anchor(score_points(alike, task), score_title(alike, task), left_out)
    return None


def _at_one_anchor(points: pd.DataFrame, title: str, left_out: str) -> _Ends | None:
    points = points[points["seed"].isna() & (points["anchor"] > 0)]
    anchors = [set(rows["anchor"]) for _, rows in points.groupby("series")]
    shared = set.intersection(*anchors) if anchors else set()
    if len(anchors) < FEWEST_VALUES or not shared:
        return None
    points = points[points["anchor"] == max(shared)]
    bars = f"bars: {words}" if (words := interval_words(points)) else ""
    return _Ends(title, points, "; ".join(filter(None, (f"at {points['when'].iloc[0]}", bars, left_out))))


def settings_of(run: Run) -> Settings:
    """All that a recipe says of what a model learns from and how. A shape that was found for a budget follows from that."""
    found = run.plan.budget.found.fields if run.plan and run.plan.budget else {}
    return {key: value for key, value in _settings(run.recipe) if key not in {f"model.{field}" for field in found}}


def _settings(section: Mapping[str, object], path: str = "") -> Iterator[tuple[str, float | str]]:
    for key, value in section.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _settings(value, name) if path or key not in _NO_SETTINGS else ()
        elif value is not None and name not in _NO_SETTINGS:
            yield name, _plain(value)


def _plain(value: object) -> float | str:
    """A number, also one that YAML 1.1 reads as text (3e-4); a list as JSON, and true and false as such."""
    if isinstance(value, bool | list):
        return json.dumps(value, sort_keys=True, default=str)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else str(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, float)
