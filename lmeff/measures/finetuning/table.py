"""What `lmeff finetune` prints of a model."""

from collections.abc import Sequence
from typing import Any

from lmeff.measures.finetuning.tasks import Task
from lmeff.text_tables import table_line

_HEADER = ("task", "metric", "score x 100", "constant", "rate", "best epoch")
_INDENT = "  "


class FinetuningTable:
    """Lines with columns that fit, one task at a time, since a task may take hours."""

    def __init__(self, tasks: Sequence[Task], groups: Sequence[str]) -> None:
        names = [*(task.name for task in tasks), *groups, "task"]
        metrics = [metric for task in tasks for metric in task.metrics]
        metrics += [f"{metric}_mismatched" for task in tasks for metric in task.metrics if task.validation[1:]]
        metrics += ["metric", "score"]
        self._widths = (max(map(len, names)), max(map(len, metrics)), 22, 8, 7, 0)

    def header(self) -> str:
        return self._line(*_HEADER)

    def lines(self, task: Task, result: dict[str, Any]) -> list[str]:
        """A line for each metric of a result, the main ones first."""
        about, values = result["finetune"], result["results"][task.result_name]
        known = [name for name in about["constant"] if name not in ("answer", "score")]
        several = ["score"] if len(task.main) > 1 else []
        order = [*several, *task.main, *(name for name in known if name not in task.main)]
        lines = []
        for number, metric in enumerate(order):
            mean, std = values[f"{metric},none"], (about["std"] or {}).get(metric)
            cells = (task.name, metric, _percent(mean, std), _percent(about["constant"][metric]))
            chosen = (f"{about['learning_rate']:g}", " ".join(map(str, about["best_epochs"].values())))
            lines.append(self._line(*(cells + chosen if number == 0 else ("", *cells[1:], "", ""))))
        return lines

    def group(self, name: str, score: float, constant: float, num_tasks: int) -> str:
        return self._line(name, "score", _percent(score), _percent(constant), "", f"mean of {num_tasks} tasks")

    def _line(self, *cells: str) -> str:
        return _INDENT + table_line(cells, self._widths, "<<>>><")


def _percent(value: float, std: float | None = None) -> str:
    return f"{100 * value:.1f}" + ("" if std is None else f" (SD of seeds {100 * std:.1f})")
