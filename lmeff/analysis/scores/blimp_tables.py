"""Tables whose tasks are BLiMP's paradigms: where each stands in the suite, and the means of groups that a table lacks."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import NamedTuple

from lmeff.analysis.scores.observation import Observation, is_less_better
from lmeff.evaluation.tasks.blimp import PARADIGMS, PHENOMENA
from lmeff.intervals import is_share

_FEWEST = 2
"""Paradigms of one suite, or a task that is called as one of them may be something else."""
_PHENOMENON_OF = {paradigm.lower(): phenomenon for phenomenon, paradigms in PHENOMENA.items() for paradigm in paradigms}
_NAME = re.compile(r"(?:(?P<suite>.+?)_)??(?P<paradigm>" + "|".join(map(re.escape, _PHENOMENON_OF)) + ")")


class _Place(NamedTuple):
    suite: str
    phenomenon: str


def with_groups(name: str, observations: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """The scores of the table `name` with what each task is in and, before them, the means of phenomena and of the suite where
    the table has none: unweighted ones, where a run has every paradigm at an anchor that the table has. And a line that says
    so. Other tables are as they were."""
    places = _places({one.task: one.phenomenon for one in observations})
    if not places:
        return list(observations), []
    groups: dict[str, _Place] = {}
    for place in places.values():
        groups |= {place.suite: _Place(place.suite, ""), place.phenomenon: place}
    placed = [_placed(one, {**groups, **places}.get(one.task)) for one in observations]
    means = _means([one for one in placed if one.task in places], places, {one.task for one in observations})
    if not means:
        return placed, []
    num_paradigms = len({match["paradigm"] for task in places if (match := _NAME.fullmatch(task.lower()))})
    said = (
        f"{name}: tasks are {num_paradigms} of BLiMP's {len(PARADIGMS)} paradigms; unweighted means over them are"
        f" {_named({one.task for one in means}, places.values())}"
    )
    return [*means, *placed], [said]


def _named(made: set[str], places: Iterable[_Place]) -> str:
    """The groups that were made: `blimp and its phenomena` where none of a suite is the table's."""
    by_suite: dict[str, dict[str, None]] = {}
    for place in places:
        by_suite.setdefault(place.suite, {place.suite: None})[place.phenomenon] = None
    names: list[str] = []
    for suite, groups in by_suite.items():
        is_whole = groups.keys() <= made
        names += [f"{suite} and its phenomena"] if is_whole else [group for group in groups if group in made]
    return ", ".join(names)


def _places(tasks: Mapping[str, str | None]) -> dict[str, _Place]:
    """By task its suite and its phenomenon: that of the table, where it has one, after the name of the suite where two suites
    have it. The longest paradigm that a name ends with counts, after the name of its suite."""
    found: dict[str, _Place] = {}
    for task, phenomenon in tasks.items():
        if match := _NAME.fullmatch(task.lower()):
            suite = task[: len(match["suite"])] if match["suite"] else "blimp"
            found[task] = _Place(suite, phenomenon or f"{suite}_{_PHENOMENON_OF[match['paradigm']]}")
    counts = Counter(place.suite for place in found.values())
    found = {task: place for task, place in found.items() if counts[place.suite] >= _FEWEST}
    num_suites = Counter(phenomenon for _, phenomenon in set(found.values()))
    return {
        # A mean over the paradigms of two suites would be of neither.
        task: place if num_suites[place.phenomenon] == 1 else _Place(place.suite, f"{place.suite}_{place.phenomenon}")
        for task, place in found.items()
    }


def _placed(one: Observation, place: _Place | None) -> Observation:
    if place is None:
        return one
    return replace(one, suite=place.suite, phenomenon=place.phenomenon or one.phenomenon)


def _means(scores: Sequence[Observation], places: Mapping[str, _Place], there: set[str]) -> list[Observation]:
    """Of groups that are no task of the table themselves."""
    members: dict[str, set[str]] = {}
    for task, place in places.items():
        for group in (place.suite, place.phenomenon):
            members.setdefault(group, set()).add(task)
    together: dict[tuple[object, ...], dict[str, list[Observation]]] = {}
    for one in scores:
        if is_share(one.metric) and not is_less_better(one.task, one.metric):
            key = (one.cell, one.seed, one.tokens, one.metric, one.settings)
            together.setdefault(key, {}).setdefault(one.task, []).append(one)
    return [
        _mean(group, [by_task[task][0] for task in sorted(tasks)])
        for group, tasks in members.items()
        if group not in there
        for by_task in together.values()
        # What is there twice, of other data, would be some mean of both.
        if all(len(by_task.get(task, ())) == 1 for task in tasks)
    ]


def _mean(group: str, scores: Sequence[Observation]) -> Observation:
    first = scores[0]
    errors = [one.stderr for one in scores if one.stderr is not None]
    counts = [one.n for one in scores if one.n is not None]
    data = {one.data for one in scores}
    return replace(
        first,
        task=group,
        phenomenon=None if group == first.suite else group,
        value=sum(one.value for one in scores) / len(scores),
        stderr=sqrt(sum(error**2 for error in errors)) / len(scores) if len(errors) == len(scores) else None,
        n=sum(counts) if len(counts) == len(scores) else None,
        data=data.pop() if len(data) == 1 else None,
    )
