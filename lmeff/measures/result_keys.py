"""Results that lm-eval does not compute, in lm-eval's own result keys, so that curves and cards read them like any other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.evaluation.results import plain
from lmeff.formats.base import FORMAT
from lmeff.formats.result import ABOUT, KIND, Kind, write_result
from lmeff.models.versions import library_versions


def write_measurement(
    path: Path,
    kind: Kind,
    metrics: Mapping[str, Mapping[str, float]],
    num_examples: Mapping[str, int],
    higher_is_better: Mapping[str, bool],
    decided_by: Mapping[str, Any],
    device: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Writes `TASK.json` and returns its content.

    Args:
        kind: what was measured: the measure's `kind`.
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
    result: dict[str, Any] = plain(
        {
            "format": FORMAT,
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
            KIND: kind,
            ABOUT: {
                "format": FORMAT,
                **decided_by,
                "versions": library_versions(),
                **({} if device is None else {"device": device}),
            },
        }
    )
    write_result(path, result)
    return result
