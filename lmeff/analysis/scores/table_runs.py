"""Scores of a plain table as runs, so that figures and the report show them as they show ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lmeff.analysis.reading.other_models import NamedAnchor
from lmeff.analysis.reading.results import Results, Score, TaskResult
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.scores.observation import Observation, is_number
from lmeff.formats.result import Kind
from lmeff.quantities import parse_count


@dataclass(frozen=True)
class TableRun(Run):
    """A run of which only a table knows; its `folder` is the table's file."""

    parameters: int | None = None

    @property
    def num_parameters(self) -> int | None:
        return self.parameters


def runs_of_table(path: Path, observations: Sequence[Observation]) -> list[TableRun]:
    """A run for each cell and seed. Scores called `final` are at no known number of tokens and left out."""
    by_run: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        if one.tokens is not None:
            by_run.setdefault((one.cell, one.seed), []).append(one)
    seeds = seed_numbers(seed for _, seed in by_run)
    return [_run(path, cell, seeds[seed], scores) for (cell, seed), scores in by_run.items()]


def seed_numbers(seeds: Iterable[str]) -> dict[str, int]:
    """A run's seed is a number: seeds with names get numbers that no other seed has."""
    names = list(dict.fromkeys(seeds))
    numbers = {int(name) for name in names if is_number(name)}
    unused = (number for number in count() if number not in numbers)
    return {name: int(name) if is_number(name) else next(unused) for name in names}


def seed_note(path: Path, observations: Sequence[Observation]) -> list[str]:
    """A line that says which numbers seeds with names have got."""
    numbers = seed_numbers(one.seed for one in observations if one.tokens is not None)
    named = [f"{name} as {number}" for name, number in numbers.items() if not is_number(name)]
    return [f"{path.name}: seeds are shown as numbers: {', '.join(named)}"] if named else []


def _run(path: Path, cell: str, seed: int, scores: Sequence[Observation]) -> TableRun:
    first = scores[0]
    by_tokens: dict[int, list[Observation]] = {}
    for one in scores:
        by_tokens.setdefault(one.tokens or 0, []).append(one)
    known: dict[str, dict[str, Any]] = {
        "corpus": {"name": first.corpus},
        "model": {"size": first.size, "family": first.family},
        "tokenizer": {"vocab_size": first.vocab_size},
    }
    recipe = {
        section: said
        for section, values in known.items()
        if (said := {key: value for key, value in values.items() if value not in ("-", None)})
    }
    return TableRun(
        folder=path,
        name=cell,
        seed=seed,
        recipe=recipe,
        recipe_text="",
        plan=None,
        state=None,
        anchors=tuple(
            Anchor(f"{tokens}", NamedAnchor(tokens, tokens, flops=_known_flops(here)), _results(here))
            for tokens, here in sorted(by_tokens.items())
        ),
        subtasks=_subtasks(scores),
        source=path.name,
        unit=first.unit,
        parameters=_counted_parameters(first),
    )


def _subtasks(scores: Sequence[Observation]) -> dict[str, tuple[str, ...]]:
    """Suites of minimal pairs with their phenomena, and these with their paradigms, as far as they are tasks of the table."""
    tasks = {one.task for one in scores}
    below: dict[str, dict[str, None]] = {}
    for one in scores:
        if one.suite is None or one.task == one.suite:
            continue
        above = one.suite if one.task == one.phenomenon else one.phenomenon
        if above in tasks:
            below.setdefault(str(above), {})[one.task] = None
    return {group: tuple(members) for group, members in below.items()}


def _known_flops(scores: Sequence[Observation]) -> float | None:
    return next((one.flops for one in scores if one.flops is not None), None)


def _counted_parameters(one: Observation) -> int | None:
    """None where a table says no more than the size of a model by name."""
    try:
        return None if parse_count(one.size) == one.num_parameters else one.num_parameters
    except ValueError:
        return one.num_parameters


def _results(scores: Sequence[Observation]) -> Results:
    tasks: dict[str, TaskResult] = {}
    for one in scores:
        metrics = tasks[one.task].metrics if one.task in tasks else {}
        settings = {"settings": one.settings} if one.settings else {}
        about = {"data_sha256": one.data, "settings": settings} if one.data or settings else {}
        metrics = {**metrics, one.metric: Score(one.value, one.stderr)}
        kind: Kind = "choices" if one.suite is None else "pairs"
        tasks[one.task] = TaskResult(metrics, one.n, about, kind=kind)
    return Results(tasks)
