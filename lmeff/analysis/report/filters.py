"""What a reader may filter the page by: corpus, size, vocabulary and seed of runs, tasks and phenomena."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmeff.analysis.charts.points import headline_tasks
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import phenomena_of, task_titles
from lmeff.analysis.report.views import RunView
from lmeff.quantities import parse_count

OVER_ALL_RUNS = ("agreement", "errors", "predicted", "fan")
"""Figures whose numbers were computed over all runs together, and would be others for some of them."""
OVER_ALL_TASKS = ("paradigm_boxes",)
"""As these, over all tasks."""
OF_THE_FIRST_TASK = ("grid", "trade_offs", "seed_boxes")
OF_THE_PREDICTED_TASK = OVER_ALL_RUNS
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Facet:
    """Something that runs or tasks differ in."""

    name: str
    """`corpus`, as `data-facet` of its buttons has it."""
    values: list[str]


@dataclass(frozen=True)
class Filters:
    facets: list[Facet]
    """Those with two values or more, in the order of the controls."""
    data: dict[str, Any] = field(default_factory=dict)
    """For the page's script: `runs` (with `series`, `seed` and their value of each facet, in the order of `data-run`), `tasks`
    (`suite` and `phenomenon` of each), and which figures are over all runs, over all tasks, and of one task alone."""


def filters_of(study: Study, views: Sequence[RunView], labels: Sequence[str]) -> Filters:
    """`labels`: the series of each view, as figures name them."""
    runs = [
        {"series": label, **{name: value or NOT_KNOWN for name, value in _kinds(view.run).items()}}
        for view, label in zip(views, labels, strict=True)
    ]
    tasks = headline_tasks(study.series)
    about = _about_tasks([view.run for view in views], tasks)
    values = {name: in_order(run[name] for run in runs) for name in ("corpus", "size", "vocabulary", "seed")}
    values["task"] = tasks
    values["phenomenon"] = list(dict.fromkeys(one["phenomenon"] for one in about.values() if one["phenomenon"]))
    of_task = dict.fromkeys(OF_THE_FIRST_TASK, tasks[0]) if tasks else {}
    if study.prediction:
        of_task |= dict.fromkeys(OF_THE_PREDICTED_TASK, study.prediction["task"])
    return Filters(
        [Facet(name, found) for name, found in values.items() if len(found) > 1],
        {
            "runs": runs,
            "tasks": about,
            "over_all_runs": list(OVER_ALL_RUNS),
            "over_all_tasks": list(OVER_ALL_TASKS),
            "of_task": of_task,
        },
    )


def in_order(names: Iterable[str]) -> list[str]:
    """Different names, by what they count where all of them are counts (`20m`, `180m`)."""
    found = list(dict.fromkeys(names))
    try:
        return sorted(found, key=parse_count)
    except ValueError:
        return found


def _kinds(run: Run) -> dict[str, str | None]:
    vocabulary = str(run.vocab_size) if run.vocab_size else None
    return {"corpus": run.corpus, "size": run.size, "vocabulary": vocabulary, "seed": str(run.seed)}


def _about_tasks(runs: Sequence[Run], tasks: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """By task the suite that it is in, or is, and the title of the phenomenon that it is, or is in."""
    titles = task_titles(runs, phenomena_of(runs))
    about: dict[str, dict[str, str | None]] = {}
    subtasks: dict[str, dict[str, None]] = {}
    for run in runs:
        for group, below in run.subtasks.items():
            subtasks.setdefault(group, {}).update(dict.fromkeys(below))

    def put(task: str, suite: str, phenomenon: str | None) -> None:
        phenomenon = titles.get(task, phenomenon)
        about.setdefault(task, {"suite": suite, "phenomenon": phenomenon})
        for child in subtasks.get(task, ()):
            put(child, suite, phenomenon)

    for task in tasks:
        put(task, task, None)
    return about
