"""Several runs in words: what was compared, which was best in the end, since when, and what is not there."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmeff.analysis.charts.points import all_points, headline_tasks, score_points, shown_metric
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.studies.scored_alike import scored_alike
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.held_out import same_held_out_text
from lmeff.analysis.report.cautions import named, number_of
from lmeff.analysis.report.filters import in_order
from lmeff.analysis.report.views import RunView
from lmeff.quantities import format_tokens

_MOST_NAMED = 4
_MOST_TASKS = 3
"""Tasks of which the best is told."""


def summary(study: Study, views: Sequence[RunView], num_missing: int) -> list[str]:
    """Sentences; none of a single run. `num_missing` values are there of other runs."""
    if len(views) < 2:
        return []
    return [_what_was_compared(study.series, views), *_best(study.series), _what_is_missing(views, num_missing)]


def _what_was_compared(series: Sequence[Series], views: Sequence[RunView]) -> str:
    runs = [view.run for view in views]
    words = number_of(len(runs), "run")
    if len(series) < len(runs):
        words += f" of {number_of(len(series), 'recipe')}"
    kinds = [
        _kinds("corpus", "corpora", (run.corpus for run in runs)),
        _kinds("size", "sizes", (run.size for run in runs)),
        _kinds("vocabulary", "vocabularies", (f"{run.vocab_size}" if run.vocab_size else None for run in runs)),
        _kinds("seed", "seeds", (str(run.seed) for run in runs)),
    ]
    last = max((run.tokens for run in runs), default=0)
    until = f"Trained on up to {format_tokens(last)} {runs[0].unit}." if last else "None has been trained yet."
    return f"{words}: {'; '.join(filter(None, kinds))}. {until}"


def _kinds(one: str, several: str, names: Iterable[str | None]) -> str:
    found = in_order(name for name in names if name is not None)
    if len(found) < 2:
        return f"{one} {found[0]}" if found else ""
    shown = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    return f"{len(found)} {several} ({shown})"


def _best(series: Sequence[Series]) -> Iterator[str]:
    """A sentence or two for each of the first tasks, or where there is none for the held-out text."""
    tasks = headline_tasks(series)
    for task in tasks[:_MOST_TASKS]:
        alike, left_out = scored_alike(series, [task])
        if len(alike) < 2:
            continue
        points = score_points(alike, task)
        form = "{:.1f}%" if shown_metric(alike, task) == "acc" else "{:.1f} (score x 100)"
        yield from _of_points(points, alike, f"in {task}", form.format, left_out, more_is_better=True)
    if (more := len(tasks) - _MOST_TASKS) > 0:
        yield f"{number_of(more, 'more task')} {'is' if more == 1 else 'are'} in the table below."
    if not tasks and all(same_held_out_text(series[0].runs[0], each.runs[0]) for each in series):
        points = all_points(series, ["dev"], "dev_bits_per_byte")
        yield from _of_points(
            points, series, "in bits per byte of held-out text", "{:.3f}".format, "", more_is_better=False
        )


def _of_points(
    points: pd.DataFrame,
    series: Sequence[Series],
    what: str,
    form: Callable[[float], str],
    left_out: str,
    more_is_better: bool,
) -> Iterator[str]:
    """Of recipes at the anchors that all of those have which are furthest on."""
    points = points[points["seed"].isna() & (points["anchor"] > 0)] if len(points) else points
    by_anchor = points.pivot_table(index="anchor", columns="series", values="value") if len(points) else pd.DataFrame()
    last = by_anchor.index.max() if len(by_anchor) else None
    if last is None or by_anchor.shape[1] < 2:
        return
    ended = by_anchor.loc[:, by_anchor.loc[last].notna()]
    unit = series[0].unit
    where = f"at {format_tokens(int(last))} {unit}"
    more = f" ({left_out})" if left_out else ""
    # A recipe has a mean at the anchors that all of its seeds have come to.
    of_all = " of all its seeds" if any(len(each.runs) > 1 for each in series) else ""
    if ended.shape[1] < 2:
        yield f"{ended.columns[0]} alone has a value{of_all} {where}, so no end can be compared {what}{more}."
        return
    shared = ended.dropna()
    order = list(ended.loc[last].sort_values(ascending=not more_is_better, kind="stable").index)
    at_end = points[points["anchor"] == last].set_index("series")
    best, second = order[:2]
    of_all = of_all.replace("its", "their")
    others = f", of the {len(order)} recipes that have a value{of_all} there" if ended.shape[1] < len(series) else ""
    said = form(at_end.at[best, "value"])
    if len(equal := [name for name in order if form(at_end.at[name, "value"]) == said]) > 1:
        yield f"Best {what} {where}{others}, equal in the digits shown: {named(equal)} with {said}{more}."
        return
    words = f"Best {what} {where}{others}: {best} with {_with_interval(at_end.loc[best], form)}"
    words += f"; then {second} with {_with_interval(at_end.loc[second], form)}"
    if _overlap(at_end.loc[best], at_end.loc[second]):
        words += "; the two intervals overlap, so which of them is better is not settled"
    yield f"{words}{more}."
    yield _since(shared, order, more_is_better, unit)


def _with_interval(row: pd.Series, form: Callable[[float], str]) -> str:
    """With one over seeds, or words that there is none."""
    if "seeds" in str(row["spread"]):
        return f"{form(row['value'])} ({form(row['low'])} to {form(row['high'])}: {row['spread']})"
    return f"{form(row['value'])} (one seed: no interval over seeds)"


def _overlap(one: pd.Series, other: pd.Series) -> bool:
    both = "seeds" in str(one["spread"]) and "seeds" in str(other["spread"])
    return both and one["low"] <= other["high"] and other["low"] <= one["high"]


def _since(shared: pd.DataFrame, order: list[str], more_is_better: bool, unit: str) -> str:
    """From which of the anchors that all of them have the order, and the first place, are those of the end."""
    values = shared[order] if more_is_better else -shared[order]
    is_ordered = (values.to_numpy()[:, :-1] >= values.to_numpy()[:, 1:]).all(axis=1)
    is_first = (values.to_numpy()[:, :1] >= values.to_numpy()[:, 1:]).all(axis=1)
    ordered, first = (_held_from(shared.index, holds) for holds in (is_ordered, is_first))
    at_end = int(shared.index.max())
    anchors = f"of the {number_of(len(shared), 'anchor')} that all have"
    if len(shared) < 2:
        return f"All have one anchor, {format_tokens(at_end)}, so since when {order[0]} has led is not known."
    if first == at_end:
        return f"{order[0]} leads at the last {anchors}; at the one before another does."
    led = f"{order[0]} has led since {format_tokens(first)} {unit} ({anchors})"
    if len(order) == 2:
        return f"{led}."
    if ordered == at_end:
        return f"{led}; at the last but one not all {len(order)} are in the order of the end."
    return f"{led}; all {len(order)} have been in the order of the end since {format_tokens(ordered)}."


def _held_from(anchors: pd.Index, holds: NDArray[np.bool_]) -> int:
    """The first anchor from which on it holds to the end."""
    found = int(anchors[-1])
    for anchor, each in zip(reversed(anchors), reversed(holds), strict=True):
        if not each:
            break
        found = int(anchor)
    return found


def _what_is_missing(views: Sequence[RunView], num_missing: int) -> str:
    number = (
        f"{number_of(num_missing, 'value')} {'is' if num_missing == 1 else 'are'}" if num_missing else "No value is"
    )
    values = f"{number} missing that other runs have"
    failed = sum(view.state == "failed" for view in views)
    empty = sum(not view.run.anchors and view.state != "failed" for view in views)
    states = [f"{number_of(failed, 'run')} failed"] if failed else []
    states += [f"{number_of(empty, 'run')} {'has' if empty == 1 else 'have'} measured nothing yet"] if empty else []
    running = sum(view.state in ("running", "interrupted") and bool(view.run.anchors) for view in views)
    states += [f"{number_of(running, 'run')} {'is' if running == 1 else 'are'} on the way"] if running else []
    return f"{values}; {', '.join(states)}." if states else f"{values}."
