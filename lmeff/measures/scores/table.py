"""What `lmeff eval` prints: a line for each model and task, under a header."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmeff.formats.result import kind_of
from lmeff.intervals import percent_interval, share_interval
from lmeff.text_tables import table_line

_WIDEST = len("[50.0, 50.0] over 67,000 pairs")


class ScoreTable:
    """Lines as the scores come; columns are wide enough for the models and tasks that are asked for."""

    def __init__(self, models: Sequence[str], tasks: Sequence[str]) -> None:
        names = (("revision", *models), ("task", *tasks))
        self._widths = [*(max(map(len, each)) for each in names), 8, _WIDEST, 0]

    def header(self) -> str:
        """The names of the columns. The interval is over a task's pairs, items or questions; other seeds are not in it."""
        return self._line("revision", "task", "accuracy", "95% interval", "")

    def lines(self, model: str, results: Mapping[str, dict]) -> Iterator[str]:
        """A line for each task or, of groups that have no score of their own, each task in it."""
        for task, result in results.items():
            if num_cut := result["lmeff"].get("num_cut"):
                yield f"{model}  {task}: {num_cut:,} contexts are longer than the model takes and lost their beginning"
            own = result["results"].get(task, {})
            shown = {task: own} if any("," in key for key in own) else result["results"]
            for name, scores in shown.items():
                yield self._scored(model, name, scores, _examples(name, result))

    def _scored(self, model: str, task: str, scores: Mapping[str, Any], examples: tuple[int, str]) -> str:
        accuracy, notes = scores.get("acc,none"), []
        if ties := scores.get("ties,none"):
            notes.append(f"{ties:.2%} ties")
        if (majority := scores.get("majority,none")) is not None:
            notes.append(f"{majority:.2%} for the most frequent label alone")
        number, kind = examples
        over = f"over {number:,} {kind}" if number else ""
        if accuracy is None:
            return self._line(model, task, "", over, _other_metrics(scores))
        stderr = scores.get("acc_stderr,none")
        ends = share_interval(accuracy, stderr if isinstance(stderr, float) else None, number or None)
        interval = f"{percent_interval(ends)} {over}" if ends else over
        return self._line(model, task, f"{accuracy:.2%}", interval, "; ".join(notes))

    def _line(self, *cells: str) -> str:
        return table_line(cells, self._widths, "<<><")


def _examples(task: str, result: Mapping[str, Any]) -> tuple[int, str]:
    """How many independent examples a score is over, of a group those of all its tasks, and what they are; 0 where that is not
    known. Of pairs that were made from the same items the items count."""
    samples, members = result.get("n-samples", {}), result.get("group_subtasks", {})
    items = result["lmeff"].get("num_items_of", {})
    todo, count = [task], 0
    while todo:
        name = todo.pop()
        count += items[name] if name in items else samples[name]["effective"] if name in samples else 0
        todo += members.get(name, [])
    if items:
        return count, "items"
    return count, "pairs" if kind_of(result) == "pairs" else "examples"


def _other_metrics(scores: Mapping[str, Any]) -> str:
    """`spearman 0.4312  f1 0.7000`, of a task without an accuracy."""
    named = {key.removesuffix(",none"): value for key, value in scores.items() if "," in key and "_stderr," not in key}
    numbers = {name: value for name, value in named.items() if isinstance(value, int | float)}
    return "  ".join(f"{name} {value:.4f}" for name, value in numbers.items()) or "no score"
