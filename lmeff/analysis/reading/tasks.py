"""Tasks as people read them: which there are at a level, their titles, what each is shown by, and what its examples are."""

from collections.abc import Container, Iterable, Sequence

from lmeff.analysis.reading.runs import Run
from lmeff.formats.result import scoring_words

OTHER_METRICS = {
    "score": "score x 100, the mean of its tasks or metrics",
    "spearman": "rank correlation with people's choices x 100",
}
"""What a task without an accuracy is shown by, and what that is."""


def headline_metric(metrics: Container[str]) -> str | None:
    """What a task is shown by: `acc`, or one of `OTHER_METRICS`; None with none of them."""
    return next((metric for metric in ("acc", *OTHER_METRICS) if metric in metrics), None)


def shown_by(run: Run, task: str) -> str | None:
    """The `headline_metric` of a task, at the last anchor that has a result."""
    results = run.results_of(task)
    return headline_metric(results[-1].metrics) if results else None


def has_pair_scores(run: Run, task: str) -> bool:
    """Whether scores of minimal pairs are behind a task."""
    return any(not anchor.scored_paradigms.isdisjoint(run.paradigms(task)) for anchor in run.anchors)


def examples_of(run: Run, task: str) -> str:
    """`pairs`, `documents` or `examples`: what is counted of a task."""
    results = run.results_of(task)
    if any(result.kind == "pairs" for result in results) or has_pair_scores(run, task):
        return "pairs"
    return "documents" if any(result.kind == "perplexity" for result in results) else "examples"


def over_examples(run: Run, task: str) -> str:
    """`pairs`, `items`, `documents` or `examples`: what a task's intervals are over. Of items several pairs were made."""
    if any((result.num_samples or 0) < (result.num_examples or 0) for result in run.results_of(task)):
        return "items"
    return examples_of(run, task)


def scoring_notes(run: Run, tasks: Iterable[str]) -> list[str]:
    """`lmeff_blimp: scored by ...` for each way of scoring that is not causal, at the last anchor that has a result."""
    by_words: dict[str, list[str]] = {}
    for task in tasks:
        if (results := run.results_of(task)) and (words := scoring_words(results[-1].scoring)):
            by_words.setdefault(words, []).append(task)
    return [f"{', '.join(of_words)}: {words}" for words, of_words in by_words.items()]


def phenomena_of(runs: Iterable[Run]) -> list[str]:
    """The groups inside a suite, over all runs, in the order of the result files."""
    return _at_level(runs, "phenomenon")


def paradigms_of(runs: Iterable[Run]) -> list[str]:
    """The tasks inside a group, over all runs, in the order of the result files."""
    return _at_level(runs, "paradigm")


def _at_level(runs: Iterable[Run], level: str) -> list[str]:
    tasks: dict[str, None] = {}
    for run in runs:
        grouped = {child for below in run.subtasks.values() for child in below}
        tasks |= dict.fromkeys(task for task in run.tasks if task in grouped and run.level(task) == level)
    return list(tasks)


def group_of(runs: Iterable[Run], task: str) -> str | None:
    """The group that a task is directly in."""
    return next((group for run in runs for group, below in run.subtasks.items() if task in below), None)


def task_titles(runs: Sequence[Run], tasks: Iterable[str]) -> dict[str, str]:
    """Tasks without the name of their suite in front, underscores as spaces. Never two alike."""
    suites = sorted({task for run in runs for task in run.headline_tasks}, key=len, reverse=True)
    titles = {}
    for task in tasks:
        before = next(
            (f"{suite}{mark}" for suite in suites for mark in ("_", "::") if task.startswith(f"{suite}{mark}")), ""
        )
        titles[task] = task.removeprefix(before).replace("_", " ")
    alike = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return {task: task if title in alike else title for task, title in titles.items()}
