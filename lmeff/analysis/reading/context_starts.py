"""Results whose contexts began otherwise (`evaluation.context_start`) are not compared, within a run or across runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lmeff.analysis.reading.results import Results, TaskResult
from lmeff.analysis.reading.runs import Anchor, Run

_PREFERRED = ("bos", "tokenizer", None)
"""What is shown of results that are not comparable. None: those of an older version, which do not say it."""


def with_one_context_start(runs: Sequence[Run]) -> list[Run]:
    """The runs without results of another `context_start` than the one that each task is shown with; `left_out` of a run says
    which. Results of others, which say nothing of themselves, stay."""
    starts_by_task: dict[str, set[str | None]] = {}
    for run in runs:
        for anchor in run.anchors:
            for task, result in anchor.results.tasks.items():
                if _says(result):
                    starts_by_task.setdefault(task, set()).add(_context_start(result))
    shown = {task: min(starts, key=_PREFERRED.index) for task, starts in starts_by_task.items() if len(starts) > 1}
    return [_kept(run, shown) for run in runs] if shown else list(runs)


def _context_start(result: TaskResult) -> str | None:
    return result.context_start if result.context_start in _PREFERRED else None


def _says(result: TaskResult) -> bool:
    """Whether it is one of ours, which say of themselves how they were made."""
    return bool(result.about) or result.context_start is not None


def _kept(run: Run, shown: Mapping[str, str | None]) -> Run:
    dropped: dict[tuple[str, str | None], list[str]] = {}
    anchors = []
    for anchor in run.anchors:
        others = {
            task: _context_start(result)
            for task, result in anchor.results.tasks.items()
            if _says(result) and task in shown and _context_start(result) != shown[task]
        }
        anchors.append(_without(anchor, others) if others else anchor)
        for task, start in others.items():
            if task in run.headline_tasks:
                dropped.setdefault((task, start), []).append(anchor.tokens_name)
    notes = tuple(_note(task, start, shown[task], names) for (task, start), names in dropped.items())
    return replace(run, anchors=tuple(anchors), left_out=(*run.left_out, *notes))


def _without(anchor: Anchor, tasks: Iterable[str]) -> Anchor:
    results, dropped = anchor.results, set(tasks)
    kept = {task: result for task, result in results.tasks.items() if task not in dropped}
    pairs = tuple(path for path in anchor.pair_paths if path.stem not in dropped)
    return replace(anchor, results=Results(kept, results.subtasks, results.weights), pair_paths=pairs)


def _note(task: str, start: str | None, shown: str | None, anchors: Sequence[str]) -> str:
    *most, last = anchors
    which = f"anchors {', '.join(most)} and {last} are" if most else f"anchor {last} is"
    made = (
        f"with context_start {start}" if start else "by an older version, which does not say what contexts begin with"
    )
    return (
        f"{task}: {which} left out, scored {made}, the others with context_start {shown}; score again to compare them"
    )
