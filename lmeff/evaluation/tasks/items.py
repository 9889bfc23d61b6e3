"""Standard errors of examples that were made from one item, such as EWoK's in both directions, which are no two samples."""

import math
from collections.abc import Hashable, Mapping, Sequence
from numbers import Real
from typing import Any

ITEM = "_lmeff_item"
"""The key of our own documents by which they are told. Those of other people's tasks may have an `item` that means something
else."""


def item_of(document: Any, number: int) -> Hashable:
    """Equal ones mean examples of one item (`ITEM`); without such a key every example is an item of its own."""
    return document.get(ITEM, number) if isinstance(document, Mapping) else number


def clustered_stderr(values: Sequence[float], items: Sequence[Hashable]) -> float | None:
    """Standard error of the mean of `values` where those of one item depend on each other; None with a single item.

    What items add to the sum of deviations is taken for what was sampled (Liang & Zeger 1986); with one value an item it is
    the usual standard error, and with two equal ones sqrt(2) times as large as if they were independent.
    """
    mean = sum(values) / len(values)
    sums: dict[Hashable, float] = {}
    for value, item in zip(values, items, strict=True):
        sums[item] = sums.get(item, 0.0) + value - mean
    if len(sums) < 2:
        return None
    return math.sqrt(len(sums) / (len(sums) - 1) * sum(one**2 for one in sums.values())) / len(values)


def items_of(task: Any) -> list[Hashable]:
    """The item of every example of an lm-eval task, in their order."""
    documents = {request.doc_id: request.doc for request in task.instances}
    return [item_of(document, number) for number, document in documents.items()]


def correct_stderrs(result: dict, tasks: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    """Replaces the standard errors of tasks whose examples share items, and of the groups that average them, which lm-eval
    computed as if all examples were independent.

    Args:
        result: what `lm_eval.evaluate` returned for these tasks and groups.
    """
    corrected = {name for name, task in tasks.items() if _correct(result["results"][name], task)}
    if not corrected:
        return
    for name, group in groups.items():
        if corrected.intersection(task.task_name for task in group.get_all_tasks()):
            stderrs = {key: value for key, value in group.aggregate(result["results"]).items() if "_stderr," in key}
            result["results"][name].update(stderrs)
            result["groups"][name].update(stderrs)


def _correct(scores: dict, task: Any) -> bool:
    """Whether its examples share items; then its standard errors were replaced."""
    items = items_of(task)
    if len(set(items)) == len(items):
        return False
    answers: dict[int, list] = {}
    documents = {}
    for request in task.instances:
        answers.setdefault(request.doc_id, []).append(request.resps[0])
        documents[request.doc_id] = request.doc
    values = [task.process_results(document, answers[number]) for number, document in documents.items()]
    for metric in values[0]:
        if isinstance(scores.get(f"{metric}_stderr,none"), int | float):
            of_each = [each[metric] for each in values]
            # Of a metric that no mean gives, such as F1 of pairs (label, prediction), there is no error by items.
            stderr = clustered_stderr(of_each, items) if all(isinstance(one, Real) for one in of_each) else None
            scores[f"{metric}_stderr,none"] = "N/A" if stderr is None else stderr
    return True
