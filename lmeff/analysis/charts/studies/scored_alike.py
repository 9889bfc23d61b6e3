"""Which runs may stand on one axis of scores, and the words of that axis."""

from collections.abc import Sequence
from typing import NamedTuple

from lmeff.analysis.charts.points import shown_metric
from lmeff.analysis.charts.series import Series
from lmeff.analysis.reading.comparable import score_clusters

_MOST_NAMED = 3


class Alike(NamedTuple):
    """Series whose scores can be compared."""

    series: list[Series]
    left_out: str
    """Words that name the others; empty where there are none."""


def scored_alike(series: Sequence[Series], tasks: Sequence[str]) -> Alike:
    """Those that were scored on each of the tasks as most runs were."""
    others: dict[int, str] = {}
    for task in tasks:
        apart = sorted(score_clusters([each.group for each in series], task), key=len, reverse=True)
        ours = {id(run) for members in apart[1:] for run in members}
        others |= {id(each): each.label for each in series if any(id(run) in ours for run in each.runs)}
    names = list(others.values())
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    words = f"left out, not scored as the others were: {', '.join(names[:_MOST_NAMED])}{more}" if names else ""
    return Alike([each for each in series if id(each) not in others], words)


def score_title(series: Sequence[Series], task: str) -> str:
    """`blimp, %`; a score that is no share is no percentage."""
    return f"{task}, %" if shown_metric(series, task) == "acc" else f"{task}, score x 100"
