"""Which runs may stand on one axis of scores or of losses on sentences, and the words of that axis."""

from collections.abc import Sequence
from typing import NamedTuple

from lmeff.analysis.charts.points import shown_metric
from lmeff.analysis.charts.series import Series
from lmeff.analysis.reading.comparable import score_clusters
from lmeff.analysis.reading.documents import SentenceLosses, sentence_losses
from lmeff.analysis.reading.runs import Run

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
    words = f"left out, not scored as the others were: {_listed(list(others.values()))}" if others else ""
    return Alike([each for each in series if id(each) not in others], words)


class Sentences(NamedTuple):
    """Losses on sentences that can be compared."""

    losses: dict[str, list[SentenceLosses]]
    """Of each run, by the label of its series."""
    which: str
    """Words that say of which pairs they are."""
    left_out: str
    """As that of `Alike`."""


def same_sentences(series: Sequence[Series]) -> Sentences:
    """The losses of those series that have the sentences of one suite, scored alike, as most have them: on the pairs of all
    suites that these share."""
    read = {each.label: [(run, one) for run in each.runs if (one := sentence_losses(run))] for each in series}
    with_losses = [each for each in series if read[each.label]]
    tasks = dict.fromkeys(task for each in with_losses for run, _ in read[each.label] for task in run.headline_tasks)
    paradigms: dict[str, dict[str, set[str]]] = {}
    for task in tasks:
        names = {each.label: _shared_paradigms(read[each.label], task) for each in with_losses}
        alike = scored_alike([each for each in with_losses if names[each.label]], [task]).series
        paradigms[task] = {each.label: names[each.label] for each in alike}
    kept = max(paradigms.values(), key=len, default={}).keys()
    shared = [task for task, of_task in paradigms.items() if kept and kept <= of_task.keys()]
    common = set().union(*(set.intersection(*(paradigms[task][label] for label in kept)) for task in shared))
    losses = {label: [one.only(common) for _, one in read[label]] for label in kept}
    is_all = all(common >= set(one.tasks) for of_runs in read.values() for _, one in of_runs)
    others = [each.label for each in with_losses if each.label not in kept]
    words = f"left out, without these pairs or not scored as the others were: {_listed(others)}" if others else ""
    return Sentences(losses, "minimal pairs" + ("" if is_all else f" of {_listed(shared)}"), words)


def _shared_paradigms(read: Sequence[tuple[Run, SentenceLosses]], task: str) -> set[str]:
    """Those of a task that all of these runs have losses of."""
    return set.intersection(*(set(run.paradigms(task)) & set(losses.tasks.tolist()) for run, losses in read))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def score_title(series: Sequence[Series], task: str) -> str:
    """`blimp, %`; a score that is no share is no percentage."""
    return f"{task}, %" if shown_metric(series, task) == "acc" else f"{task}, score x 100"
