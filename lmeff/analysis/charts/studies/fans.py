"""Small panels of one recipe each: curves by corpus, size and vocabulary, and how sure one could be of the end."""

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import token_x
from lmeff.analysis.charts.panels import SMALL_PANEL_WIDTH, small_panels
from lmeff.analysis.charts.points import headline_tasks, interval_words, score_points
from lmeff.analysis.charts.studies.named_lines import color_of, dash_of, shape_of
from lmeff.analysis.charts.studies.scored_alike import score_title, scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.themes import LIGHT_COLORS
from lmeff.analysis.charts.token_axis import TokenAxis
from lmeff.analysis.prediction.predictors.stack import evenly
from lmeff.analysis.reading.runs import Run
from lmeff.quantities import format_short, format_tokens, parse_count

NUM_PANELS = 12
_FEWEST_PANELS = 2
NOT_CALIBRATED = "no calibrated interval"
_PREDICTED_COLOR, _SCORE_COLOR = LIGHT_COLORS[:2]
_PREDICTED = ("value", "low80", "high80", "low95", "high95")


def grid_figure(study: Study) -> dict | None:
    """The first task's curves: a panel for each corpus and size, a line for each vocabulary.

    None where that makes one panel, or one line of several recipes.
    """
    tasks = headline_tasks(study.series)
    series, left_out = scored_alike(study.series, tasks[:1])
    ordered = sorted(series, key=lambda each: (each.runs[0].corpus or "", _count(each.runs[0].size)))
    places = {each.label: _place(each.runs[0]) for each in ordered}
    panels = list(dict.fromkeys(panel for panel, _ in places.values()))
    if len(panels) < _FEWEST_PANELS or len(set(places.values())) < len(places) or not tasks:
        return None
    points = score_points(series, tasks[0])
    points = points[points["seed"].isna()]
    points = points.assign(
        title=[places[label][0] for label in points["series"]], line=[places[label][1] for label in points["series"]]
    )
    sizes = {places[each.label][1]: each.runs[0].vocab_size or 0 for each in series}
    lines = sorted(sizes, key=lambda line: sizes[line])
    base = alt.Chart().encode(token_x(), color_of(lines))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    layers = [
        base.mark_area(opacity=0.13).encode(alt.Y("low:Q", title=None), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y, dash_of(lines)),
        base.mark_point(filled=True, size=35, opacity=1).encode(
            y,
            shape_of(lines),
            tooltip=[alt.Tooltip("series:N", title="run"), alt.Tooltip("when:N", title="at"), alt.Tooltip("shown:N")],
        ),
    ]
    band = f"band: {words}" if (words := interval_words(points)) else ""
    chart = small_panels(layers, points, panels).properties(
        title=alt.TitleParams(score_title(series, tasks[0]), subtitle=list(filter(None, (band, left_out))) or "")
    )
    return TokenAxis(study.series, SMALL_PANEL_WIDTH).finished(chart)


def fan_figure(study: Study) -> dict | None:
    """How sure one can be of the end: 80 and 95% intervals of the stack.

    Of unfinished runs what they will end at; where all have finished, what would have been said of them from each anchor, their
    recipe held out, beside their scores and their end. Intervals that may not be called calibrated are not drawn.
    """
    rows, which = _of_unfinished(study)
    if not rows:
        rows, which = _of_finished(study)
    if not rows:
        return None
    points = pd.DataFrame(rows)
    numbers = ["score", *_PREDICTED, "end"]
    points[numbers] = (100 * points[numbers].astype(float)).round(3)
    points["when"] = [f"{format_tokens(int(tokens))} {study.series[0].unit}" for tokens in points["tokens"]]
    base = alt.Chart().encode(token_x())

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))

    sure = base.transform_filter("isValid(datum.low80)")
    predicted = base.transform_filter("isValid(datum.value)")
    shown = [alt.Tooltip(f"{name}:Q", title=words) for name, words in (("value", "predicted"), ("score", "score"))]
    spread = [alt.Tooltip(f"{name}:Q", title=words) for name, words in (("low80", "80% from"), ("high80", "to"))]
    layers = [
        sure.mark_area(opacity=0.15, color=_PREDICTED_COLOR).encode(y("low95"), y2="high95:Q"),
        sure.mark_area(opacity=0.25, color=_PREDICTED_COLOR).encode(y("low80"), y2="high80:Q"),
        predicted.mark_line(strokeWidth=2, color=_PREDICTED_COLOR).encode(y("value")),
        base.transform_filter("isValid(datum.end)")
        .mark_line(style="reference", strokeDash=[5, 4], color="#888")
        .encode(y("end")),
        base.transform_filter("isValid(datum.score)")
        .mark_point(filled=True, size=40, opacity=1, color=_SCORE_COLOR)
        .encode(y("score"), tooltip=[alt.Tooltip("when:N", title="at"), *shown, *spread]),
    ]
    bands = "bands: 80 and 95% intervals" if points["low80"].notna().any() else NOT_CALIBRATED
    subtitle = [f"{bands}; dots: scores; dashed: how it ended", *([which] if which else [])]
    title = alt.TitleParams("Predicted end, %", subtitle=subtitle)
    chart = small_panels(layers, points, list(dict.fromkeys(points["title"]))).properties(title=title)
    return TokenAxis(study.series, SMALL_PANEL_WIDTH).finished(chart)


def _place(run: Run) -> tuple[str, str]:
    """Panel and line of a run."""
    panel = ", ".join(filter(None, (run.corpus, run.size))) or "all"
    return panel, f"vocabulary {format_short(run.vocab_size)}" if run.vocab_size else "one vocabulary"


def _count(size: str | None) -> int:
    try:
        return parse_count(size)
    except ValueError:
        return 0


def _of_finished(study: Study) -> tuple[list[dict], str]:
    """The first run of each recipe, evenly chosen where there are many, and words that say so."""
    first: dict[str, str] = {}
    for row in study.hindcast:
        first.setdefault(row["recipe"], row["run"])
    chosen = evenly(list(first.values()), NUM_PANELS)
    rows = [
        {**_interval(row), "title": row["run"], "tokens": row["cutoff_tokens"]}
        for row in study.hindcast
        if row["run"] in set(chosen)
    ]
    if len({row["tokens"] for row in rows}) < 2:
        return [], ""
    for run in dict.fromkeys(row["run"] for row in rows):
        last = next(row for row in rows if row["run"] == run)
        end = dict.fromkeys(_PREDICTED)
        rows.append({**last, **end, "tokens": last["target_tokens"], "score": last["end"]})
    return [_kept(row) for row in rows], _of_how_many(len(chosen), len(first), "recipes, a run of each")


def _of_unfinished(study: Study) -> tuple[list[dict], str]:
    """The scores of runs on their way, and from the last of them on the fan to what the stack says of the target."""
    said = [row for row in study.prediction["predictions"] if row["predictor"] == "stack"] if study.prediction else []
    target = study.prediction["target"]["tokens"] if study.prediction else None
    if target is None:
        return [], ""
    rows = []
    chosen = evenly(said, NUM_PANELS)
    for row in chosen:
        scores = {one.tokens: one.value for one in study.observations if one.run == row["run"] and one.tokens}
        title = row["run"] if row["calibrated"] else f"{row['run']}: {NOT_CALIBRATED}"
        at = dict.fromkeys(_PREDICTED, scores[row["cutoff_tokens"]])
        rows += [{"title": title, "tokens": tokens, "score": score} for tokens, score in sorted(scores.items())]
        rows.append(_interval({**at, "title": title, "tokens": row["cutoff_tokens"], "calibrated": row["calibrated"]}))
        rows.append(_interval({**row, "title": title, "tokens": target}))
    return [_kept(row) for row in rows], _of_how_many(len(chosen), len(said), "runs on their way")


def _of_how_many(shown: int, number: int, what: str) -> str:
    return "" if shown == number else f"{shown} of {number} {what}"


def _interval(row: dict) -> dict:
    """Without an interval that may not be called calibrated."""
    return row if row["calibrated"] else {**row, **dict.fromkeys(_PREDICTED[1:])}


def _kept(row: dict) -> dict:
    return {name: row.get(name) for name in ("title", "tokens", "score", *_PREDICTED, "end")}
