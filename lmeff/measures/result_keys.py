"""Results that lm-eval does not compute, in lm-eval's own result keys, so that curves and cards read them like any other."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmeff.evaluation.results import plain
from lmeff.formats.base import FORMAT
from lmeff.formats.result import about_of, find_result, write_result
from lmeff.models.versions import library_versions


def read_measure(path: Path, decided_by: Mapping[str, Any]) -> dict | None:
    """The result in `path` if it was computed from the same: weights, data and settings as `decided_by` names them."""
    about = about_of(path)
    same = about and all(about.get(key) == value for key, value in plain(decided_by).items())
    return find_result(path) if same else None


def find_measure(
    path: Path,
    decided_by: Mapping[str, Any],
    beside: Sequence[str] = (),
    is_whole: Callable[[Path, dict], bool] = lambda folder, result: True,
) -> tuple[Path, dict] | None:
    """`read_measure`, also from the folders of other models next to that of `path`: the same weights may lie there under
    another name. The result and its folder.

    Not for measures that hold the names of neighbors.

    Args:
        beside: files that belong to the result, relative to its folder; without them it does not count.
        is_whole: given folder and result, whether these are the files that the result was written with.
    """
    for found in (path, *sorted(path.parent.parent.glob(f"[!.]*/{path.name}"))):
        folder, result = found.parent, read_measure(found, decided_by)
        if result and all((folder / name).is_file() for name in beside) and is_whole(folder, result):
            return folder, result
    return None


def write_measure(
    path: Path,
    metrics: Mapping[str, Mapping[str, float]],
    num_examples: Mapping[str, int],
    higher_is_better: Mapping[str, bool],
    decided_by: Mapping[str, Any],
    device: str | None = None,
    **more: Any,
) -> dict:
    """Writes `TASK.json` and returns its content.

    Args:
        metrics: `{task: {metric: value}}`; a standard error is a metric named `METRIC_stderr`.
        num_examples: by task, over how many examples a metric was taken.
        higher_is_better: by metric.
        decided_by: what decides the numbers, such as `weights_sha256`, `data_sha256` and `settings`.
        device: on which it was computed, `cpu` or the GPU's name.
        more: further content beside `results`, such as what was generated.

    Raises ValueError naming task and metric for a value that is not finite: it is no result.
    """
    for task, values in metrics.items():
        for metric, value in values.items():
            if not (isinstance(value, int | float) and value - value == 0):
                raise ValueError(f"{task}: {metric} is {value}")
    result = plain(
        {
            "results": {
                task: {"alias": task, **{f"{metric},none": value for metric, value in values.items()}}
                for task, values in metrics.items()
            },
            "configs": {task: {} for task in metrics},
            "versions": dict.fromkeys(metrics, 1.0),
            "n-shot": dict.fromkeys(metrics, 0),
            "higher_is_better": {task: dict(higher_is_better) for task in metrics},
            "n-samples": {task: {"original": count, "effective": count} for task, count in num_examples.items()},
            **more,
            "lmeff": {
                "format": FORMAT,
                **decided_by,
                "versions": library_versions(),
                **({} if device is None else {"device": device}),
            },
        }
    )
    write_result(path, result)
    return result
