"""Quality against what it costs: FLOPs, tokens, parameters and latency, with the runs that nothing cheaper beats."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import altair as alt
import pandas as pd

from lmeff.analysis.charts.layers import series_color, series_shape
from lmeff.analysis.charts.panels import PANEL_WIDTH
from lmeff.analysis.charts.points import headline_tasks, inline, interval_words, labels, score_points
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.studies.named_lines import Panel, as_figure, side_by_side
from lmeff.analysis.charts.studies.scored_alike import score_title, scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.runs import Run
from lmeff.files import read_json
from lmeff.formats.run_folder import RunFolder
from lmeff.quantities import format_short

_COLUMNS = ["series", "cost", "value", "low", "high", "shown", "when"]


def trade_off_figure(study: Study) -> dict | None:
    """The score of the first task against each cost that runs differ in, of runs that were scored alike. Of FLOPs and tokens
    every anchor is a point, of parameters and latency the last one."""
    tasks = headline_tasks(study.series)
    if not tasks:
        return None
    series, left_out = scored_alike(study.series, tasks[:1])
    if len(series) < 2:
        return None
    points = score_points(series, tasks[0])
    points = points[points["seed"].isna() & (points["tokens"] > 0)]
    last = points.sort_values("tokens").groupby("series", as_index=False).last()
    panels: list[tuple[str, pd.DataFrame, Callable[[Series, int], float | None]]] = [
        ("Training FLOPs", points, _flops_at),
        (f"Training {series[0].unit}", points, lambda series, anchor: anchor),
        ("Parameters", last, lambda series, anchor: series.runs[0].num_parameters),
    ]
    if (times := _latencies(series)) is not None:
        words, by_label = times
        panels.append((words, last, lambda series, anchor: by_label.get(series.label)))
    lines = labels(study.series)
    marks: list[alt.Color | alt.Shape] = [series_color(lines), *series_shape(lines)]
    drawn = [partial(_panel, series, marks, tasks[0], left_out)(*panel) for panel in panels]
    charts = [chart for chart in drawn if chart is not None]
    return as_figure(side_by_side(charts)) if charts else None


def _panel(
    series: Sequence[Series],
    marks: Sequence[alt.Color | alt.Shape],
    task: str,
    left_out: str,
    title: str,
    points: pd.DataFrame,
    cost: Callable[[Series, int], float | None],
) -> Panel | None:
    by_label = {each.label: each for each in series}
    costs = [cost(by_label[row.series], int(row.anchor)) for row in points.itertuples()]
    points = points.assign(cost=pd.array(costs, dtype="Float64").astype(float)).dropna(subset="cost")
    if points["series"].nunique() < 2 or points["cost"].nunique() < 2:
        return None
    points = points.sort_values(["cost", "value"], ascending=[True, False])
    front = points[points["value"] > points["value"].cummax().shift(fill_value=float("-inf"))]
    ends = pd.DataFrame({"cost": [points["cost"].max()], "value": [front["value"].max()]})
    axis = alt.Axis(format=".0e" if "FLOPs" in title else "~s", tickCount=5, grid=False)
    x = alt.X("cost:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=axis)
    y, low = (
        alt.Y(f"{name}:Q", title=score_title(series, task), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
        for name in ("value", "low")
    )
    tooltip = [
        alt.Tooltip("series:N", title="run"),
        alt.Tooltip("when:N", title="at"),
        alt.Tooltip("shown:N", title="value"),
        alt.Tooltip("cost:Q", title=title, format=".3~s"),
    ]
    bars = f"bars of its points: {words}" if (words := interval_words(front)) else ""
    line = alt.Chart(inline(pd.concat([front[["cost", "value"]], ends])))
    subtitle = ["line: nothing cheaper was measured to be better", *filter(None, (bars, left_out))]
    return alt.layer(
        line.mark_line(style="reference", interpolate="step-after", strokeWidth=1.5, color="#888").encode(x, y),
        alt.Chart(inline(front[_COLUMNS])).mark_rule(strokeWidth=2, opacity=0.6).encode(x, low, marks[0], y2="high:Q"),
        alt.Chart(inline(points[_COLUMNS]))
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(x, y, *marks, tooltip=tooltip),
        title=alt.TitleParams(f"Quality against {title[0].lower() + title[1:]}", subtitle=subtitle),
    ).properties(width=PANEL_WIDTH, height=260)


def _flops_at(series: Series, nominal_tokens: int) -> float | None:
    anchors = series.runs[0].anchors
    return next((anchor.flops for anchor in anchors if anchor.document.nominal_tokens == nominal_tokens), None)


def _latencies(series: Sequence[Series]) -> tuple[str, dict[str, float]] | None:
    """Milliseconds of one sequence by series, from `lmeff profile`, where the same length was measured on the same kind of
    machine, with as many threads; and the title of that axis."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for each in series:
        for path in _profiles(each.runs[0]):
            profile = read_json(path)
            for row in profile.get("latency", []):
                found.setdefault((_machine(path, profile), row["length"]), {})[each.label] = row["median_ms"]
    if not found:
        return None
    (machine, length), times = max(found.items(), key=lambda item: (len(item[1]), item[0]))
    return f"Milliseconds for {format_short(length)} tokens, {machine}", times


def _machine(path: Path, profile: dict) -> str:
    """`NVIDIA H100, bfloat16`: what it was measured on, and how."""
    machine, precision = profile.get("machine") or {}, path.stem.partition("-")[2]
    name = (machine.get("gpu") or {}).get("name") or machine.get("cpu")
    if name is None:
        return path.stem
    threads = f", {machine['num_threads']} threads" if not machine.get("gpu") and "num_threads" in machine else ""
    return f"{name}{threads}, {precision}"


def _profiles(run: Run) -> list[Path]:
    if not run.folder.is_dir() or not run.anchors:
        return []
    names = [anchor.revision for anchor in run.anchors] + [f"seed-{run.seed}"]
    paths = [sorted((RunFolder(run.folder).results_of(name) / "profile").glob("*.json")) for name in reversed(names)]
    return next((found for found in paths if found), [])
