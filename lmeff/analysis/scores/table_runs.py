"""Scores of a plain table as runs, so that figures and the report show them as they show ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmeff.analysis.reading.other_models import NamedAnchor
from lmeff.analysis.reading.results import Results, Score, TaskResult
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.scores.observation import Observation


@dataclass(frozen=True)
class TableRun(Run):
    """A run of which only a table knows; its `folder` is the table's file."""


def runs_of_table(path: Path, observations: Sequence[Observation]) -> list[TableRun]:
    """A run for each cell and seed. Scores called `final` are at no known number of tokens and left out."""
    by_run: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        if one.tokens is not None:
            by_run.setdefault((one.cell, one.seed), []).append(one)
    seeds = {
        seed: int(seed) if seed.isdigit() else number for number, seed in enumerate({seed: 0 for _, seed in by_run})
    }
    return [_run(path, cell, seeds[seed], scores) for (cell, seed), scores in by_run.items()]


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
        log=(),
        anchors=tuple(
            Anchor(f"{tokens}", NamedAnchor(tokens, tokens), _results(here))
            for tokens, here in sorted(by_tokens.items())
        ),
        source=path.name,
    )


def _results(scores: Sequence[Observation]) -> Results:
    tasks: dict[str, TaskResult] = {}
    for one in scores:
        metrics = tasks[one.task].metrics if one.task in tasks else {}
        tasks[one.task] = TaskResult({**metrics, one.metric: Score(one.value, one.stderr)}, one.n)
    return Results(tasks)
