"""Values as people read them in the cells of a table."""

from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import headline_metric
from lmeff.analysis.statistics.tidy_table import accuracy_interval
from lmeff.intervals import percent_interval


def step_text(step: int | None) -> str:
    """A step, or `-` for a model that is no run of ours."""
    return "-" if step is None else f"{step}"


def loss_text(value: float | None) -> str:
    """A loss with three decimals, or `-` when it was not measured."""
    return "-" if value is None else f"{value:.3f}"


def accuracy(anchor: Anchor, task: str, run: Run | None = None) -> str:
    """`63.9 [63.5, 64.3]`: accuracy in percent and, given the run, its 95% interval over examples; empty when it was not
    measured. For a task that is shown by another metric, that times 100."""
    result = anchor.results.tasks.get(task)
    if result is None:
        return ""
    metric = headline_metric(result.metrics)
    if metric is None:
        return ""
    text = f"{100 * result.metrics[metric].value:.1f}"
    interval = accuracy_interval(run, anchor, task) if run and metric == "acc" else None
    return text if interval is None else f"{text} {percent_interval(interval)}"
