"""In which ways scores of a task were made: on which data, with which settings, over how many examples."""

from collections import Counter
from collections.abc import Sequence

from lmeff.analysis.scores.observation import Observation

WAYS = {"data": "data", "settings": "settings", "n": "numbers of examples"}
"""The fields that values must share to be compared, and how people call them. One that says nothing is like every other."""

_MOST_NAMED = 5


def made_alike(observations: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Of the scores of one task and metric those that were made as most of them were, and lines that say what was left out."""
    kept, notes = list(observations), []
    for name, words in WAYS.items():
        counts = Counter(said for one in kept if (said := getattr(one, name)) is not None)
        if len(counts) < 2:
            continue
        usual = counts.most_common(1)[0][0]
        others = [str(said) for said in counts if said != usual]
        notes.append(f"{kept[0].task}: left out, made with other {words} ({_listed(others)}) than most ({usual})")
        kept = [one for one in kept if getattr(one, name) in (None, usual)]
    return kept, notes


def along_one_axis(observations: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Those that count what most runs count, since a number of words is no number of tokens, and lines that say what was left
    out and what is counted where that is no tokens."""
    by_unit: dict[str, dict[str, None]] = {}
    for one in observations:
        by_unit.setdefault(one.unit, {})[one.run] = None
    if not by_unit:
        return [], []
    usual = max(by_unit, key=lambda unit: len(by_unit[unit]))
    notes = [
        f"left out, since they count {unit} where most count {usual}: {_listed(list(runs))}"
        for unit, runs in by_unit.items()
        if unit != usual
    ]
    if usual != "tokens":
        notes.append(f"these runs count {usual}: where tokens are said of anchors, {usual} are meant")
    return [one for one in observations if one.unit == usual], notes


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def one_way_each(observations: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Of several scores of a run, anchor, task and metric, as no curve can have, the one that was made as most scores of its
    task were; and a line for each task of which some were left out."""
    usual = Counter((one.task, one.metric, *_way(one)) for one in observations)
    best: dict[tuple, Observation] = {}
    for one in observations:
        other = best.setdefault((one.run, one.tokens, one.task, one.metric), one)
        if usual[(one.task, one.metric, *_way(one))] > usual[(one.task, one.metric, *_way(other))]:
            best[(one.run, one.tokens, one.task, one.metric)] = one
    kept = {id(one) for one in best.values()}
    tasks = dict.fromkeys(one.task for one in observations if id(one) not in kept)
    words = ", ".join(WAYS.values()).replace(", n", " or n")
    return (
        [one for one in observations if id(one) in kept],
        [
            f"{task}: of a run that was scored in several ways (other {words}) only the usual one is shown"
            for task in tasks
        ],
    )


def _way(one: Observation) -> tuple:
    return tuple(getattr(one, name) for name in WAYS)
