"""What each run cost, as far as its files say it: FLOPs, hours of training, device, speed. Nothing is estimated."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lmeff.analysis.reading.runs import Run
from lmeff.analysis.report.views import RunView
from lmeff.quantities import format_duration, format_short, format_tokens


class Cost(NamedTuple):
    """Up to the last anchor."""

    flops: float | None
    flops_teachers: float | None
    flops_scoring: float | None
    train_seconds: float | None
    """Wall seconds without saving and evaluating."""
    num_devices: int | None
    device: str | None
    tokens_per_second: float | None

    @property
    def device_seconds(self) -> float | None:
        return self.train_seconds * self.num_devices if self.train_seconds and self.num_devices else None

    @property
    def is_known(self) -> bool:
        return self.flops is not None or self.train_seconds is not None


def cost_of(run: Run) -> Cost:
    """From `anchor.json`; of models of others the FLOPs alone, where a table has them."""
    document = run.anchors[-1].document if run.anchors else None

    def said(name: str) -> float | None:
        return getattr(document, name, None) or None

    seconds = said("train_seconds")
    return Cost(
        flops=said("flops"),
        flops_teachers=said("flops_teachers"),
        flops_scoring=said("flops_scoring"),
        train_seconds=seconds,
        num_devices=getattr(document, "world_size", None),
        device=getattr(document, "device", None),
        tokens_per_second=(said("exact_tokens") or 0) / seconds if seconds else None,
    )


class CostTable(NamedTuple):
    columns: list[str]
    rows: list[tuple[RunView, list[str]]]
    """Runs of which something is known."""
    words: list[str]
    """Sentences about all of them together, and about runs whose last anchor does not hold all that they cost."""


_COLUMNS: tuple[tuple[str, Callable[[Run, Cost], str]], ...] = (
    ("Up to", lambda run, cost: f"{format_tokens(run.anchors[-1].document.nominal_tokens)} {run.unit}"),
    ("FLOPs", lambda run, cost: _flops(cost.flops)),
    ("of teachers", lambda run, cost: _flops(cost.flops_teachers)),
    ("of scoring text", lambda run, cost: _flops(cost.flops_scoring)),
    ("Training", lambda run, cost: format_duration(cost.train_seconds) if cost.train_seconds else "-"),
    ("Device", lambda run, cost: _devices(cost)),
    ("Tokens a second", lambda run, cost: format_short(cost.tokens_per_second) if cost.tokens_per_second else "-"),
)


def cost_table(views: Sequence[RunView]) -> CostTable:
    """Columns of which no run says anything are left out."""
    known = [(view, cost) for view in views if (cost := cost_of(view.run)).is_known]
    cells = [[text(view.run, cost) for _, text in _COLUMNS] for view, cost in known]
    kept = [index for index in range(len(_COLUMNS)) if any(row[index] != "-" for row in cells)]
    rows = [(view, [row[index] for index in kept]) for (view, _), row in zip(known, cells, strict=True)]
    whole = [cost for view, cost in known if not _is_in_parts(view.run)]
    words = [*_together(whole, len(views)), *_in_parts([view for view, _ in known])]
    return CostTable([_COLUMNS[index][0] for index in kept], rows, words)


def _devices(cost: Cost) -> str:
    if cost.device is None:
        return "-"
    return f"{cost.num_devices} x {cost.device}" if (cost.num_devices or 1) > 1 else cost.device


def _flops(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _together(costs: Sequence[Cost], num_runs: int) -> list[str]:
    """Of the runs of which the last anchor holds all that they cost."""
    flops = [math.fsum(filter(None, cost[:3])) for cost in costs if cost.flops]
    seconds = [each for cost in costs if (each := cost.device_seconds)]
    sums = [
        (f"{_flops(math.fsum(flops))} FLOPs", len(flops)),
        (f"{format_duration(math.fsum(seconds))} of device time", len(seconds)),
    ]
    sums = [(words, number) for words, number in sums if number > 1]
    if not sums:
        return []
    if all(number == num_runs for _, number in sums):
        return [f"All {num_runs} runs together: {' and '.join(words for words, _ in sums)}."]
    return [f"Together: {' and '.join(f'{words} ({number} of {num_runs} runs)' for words, number in sums)}."]


def _in_parts(views: Sequence[RunView]) -> list[str]:
    """What all parts of a run take, of which the last anchor knows its own alone."""
    return [
        f"{view.label} is trained in parts ({plan.mode}); all of them take {_flops(plan.total_flops)} FLOPs, as planned."
        for view in views
        if (plan := view.run.plan) and _is_in_parts(view.run)
    ]


def _is_in_parts(run: Run) -> bool:
    return run.plan is not None and run.plan.mode != "snapshot"
