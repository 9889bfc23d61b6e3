"""The tidy table of what was measured: a row for each run, revision, task and metric."""

from collections.abc import Iterator, Sequence
from math import isfinite

import pandas as pd

from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import over_examples
from lmeff.analysis.statistics.pair_scores import summarize_pairs
from lmeff.formats.losses import UNITS
from lmeff.intervals import metric_interval, share_interval

COLUMNS = {
    "run": "str",
    "seed": "int64",
    "corpus": "str",
    "size": "str",
    "vocab_size": "Int64",
    "revision": "str",
    "nominal_tokens": "int64",
    "exact_tokens": "int64",
    "step": "Int64",
    "unit": "str",
    "task": "str",
    "level": "str",
    "metric": "str",
    "value": "float64",
    "stderr": "float64",
    "n": "Int64",
    "low": "float64",
    "high": "float64",
    "interval_over": "str",
}
_HELD_OUT = (*UNITS, "dev_bits_per_byte", "dev_perplexity")
"""What `anchor.json` says of held-out text, in rows of the task `dev`; a training loss is the task `train`."""

WEIGHTS = "weights"
"""`task` and `level` of the rows that measure the weights."""


def tidy_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run, revision, task and metric.

    `level` is group, phenomenon, paradigm, loss or weights. Accuracy is a share from 0 to 1, losses are nats per token that is
    predicted, with names by what that is (`loss`, `masked_loss`, `dev_masked_loss`); `stderr` is lm-eval's or, where it gives
    none for `acc`, the stratified one from the scores of the pairs; `n` counts examples; `low` to `high` is the 95% interval
    over what `interval_over` says (pairs, items, documents or examples, never seeds); `unit` is what anchors count, `words`
    for BabyLM's. What was not measured has no row.
    """
    rows = [row for run in runs for anchor in run.anchors for row in _anchor_rows(run, anchor, _Over(run))]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def losses_of(run: Run, anchor: Anchor) -> dict[str, float | None]:
    """The losses of an anchor under names that say what they are of: `loss`, `dev_loss` and what follows from it are of the
    next token, and None where another is predicted."""
    document = anchor.document
    losses = {"loss": None, run.loss_metric: document.loss}
    losses |= {metric: getattr(document, metric) for metric in ("dev_loss", "dev_bits_per_byte", "dev_perplexity")}
    return losses | (dict([document.held_out]) if document.held_out else {})


class _Over(dict):
    """By task what its intervals are over, looked up once."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __missing__(self, task: str) -> str:
        return self.setdefault(task, over_examples(self._run, task))


def _anchor_rows(run: Run, anchor: Anchor, over: _Over) -> Iterator[dict]:
    document = anchor.document
    shared = {
        "run": run.name,
        "seed": run.seed,
        "corpus": run.corpus,
        "size": run.size,
        "vocab_size": run.vocab_size,
        "revision": anchor.revision,
        "nominal_tokens": document.nominal_tokens,
        "exact_tokens": document.exact_tokens,
        "step": document.step,
        "unit": run.unit,
    }
    for metric, value in losses_of(run, anchor).items():
        task = "dev" if metric in _HELD_OUT else "train"
        if value is not None:
            yield {**shared, "task": task, "level": "loss", "metric": metric, "value": value, "stderr": None, "n": None}
    for task, result in anchor.results.tasks.items():
        for metric, score in result.metrics.items():
            stderr = accuracy_stderr(run, anchor, task) if metric == "acc" else score.stderr
            interval = metric_interval(metric, score.value, stderr, result.num_samples)
            low, high = interval or (None, None)
            yield {
                **shared,
                "task": task,
                "level": run.level(task),
                "metric": metric,
                "value": score.value,
                "stderr": stderr,
                "n": result.num_examples,
                "low": low,
                "high": high,
                "interval_over": over[task] if interval else None,
            }

    for metric, value in anchor.results.weights.items():
        yield {**shared, "task": WEIGHTS, "level": WEIGHTS, "metric": metric, "value": value, "stderr": None, "n": None}


def accuracy_stderr(run: Run, anchor: Anchor, task: str) -> float | None:
    """Standard error of `acc`: lm-eval's, or else the one from the scores of the pairs; None when neither is known."""
    stated = anchor.results.tasks[task].metrics["acc"].stderr
    if stated is not None:
        return stated
    summary = summarize_pairs(run, anchor, task)
    return summary.stderr if summary and isfinite(summary.stderr) else None


def accuracy_interval(run: Run, anchor: Anchor, task: str) -> tuple[float, float] | None:
    """The 95% interval over examples of a task's `acc` at an anchor, from 0 to 1; None where it has none."""
    result = anchor.results.tasks.get(task)
    if result is None or "acc" not in result.metrics:
        return None
    return share_interval(result.metrics["acc"].value, accuracy_stderr(run, anchor, task), result.num_samples)
