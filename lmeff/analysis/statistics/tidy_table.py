"""The tidy table of what was measured: a row for each run, revision, task and metric."""

import json
from collections.abc import Iterator, Sequence
from math import isfinite

import pandas as pd

from lmeff.analysis.reading.groups import group_runs
from lmeff.analysis.reading.held_out import held_out_text
from lmeff.analysis.reading.mixed_settings import conditions
from lmeff.analysis.reading.results import TaskResult
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import group_of, over_examples
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
    "recipe": "str",
    "family": "str",
    "parameters": "Int64",
    "tokens_per_step": "Int64",
    "flops": "float64",
    "phenomenon": "str",
    "data": "str",
    "settings": "str",
    "parent": "str",
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
    for BabyLM's. `recipe` is what runs share that differ in their seed only; `flops` are those up to the anchor, with those of
    teachers and of scoring text; `data` and `settings` are what values must share to be compared, of
    losses the held-out text as far as it is known; `parent` is the group that a task is directly in. What was not measured has
    no row.
    """
    labels = {id(run): group.label for group in group_runs(runs) for run in group.runs}
    return as_table([row for run in runs for row in _run_rows(run, labels[id(run)])])


def as_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Rows as a table with all columns."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def losses_of(run: Run, anchor: Anchor) -> dict[str, float | None]:
    """The losses of an anchor under names that say what they are of: `loss`, `dev_loss` and what follows from it are of the
    next token, and None where another is predicted."""
    document = anchor.document
    losses = {"loss": None, run.loss_metric: document.loss}
    losses |= {metric: getattr(document, metric) for metric in ("dev_loss", "dev_bits_per_byte", "dev_perplexity")}
    return losses | (dict([document.held_out]) if document.held_out else {})


def _run_rows(run: Run, recipe: str) -> Iterator[dict]:
    about_run = {
        "run": run.name,
        "seed": run.seed,
        "corpus": run.corpus,
        "size": run.size,
        "vocab_size": run.vocab_size,
        "unit": run.unit,
        "recipe": recipe,
        "family": run.family,
        "parameters": run.num_parameters,
        "tokens_per_step": run.plan.batch_tokens if run.plan else None,
    }
    about_task = {task: _about_task(run, task) for task in run.tasks}
    held_out = held_out_text(run)
    for anchor in run.anchors:
        document = anchor.document
        shared = about_run | {
            "revision": anchor.revision,
            "nominal_tokens": document.nominal_tokens,
            "exact_tokens": document.exact_tokens,
            "step": document.step,
            "flops": anchor.flops,
        }
        for metric, value in losses_of(run, anchor).items():
            if value is not None:
                about_text = {"task": "dev", "data": held_out} if metric in _HELD_OUT else {"task": "train"}
                yield shared | about_text | {"level": "loss", "metric": metric, "value": value}
        yield from (shared | row for row in _score_rows(run, anchor, about_task))
        for metric, value in anchor.results.weights.items():
            yield shared | {"task": WEIGHTS, "level": WEIGHTS, "metric": metric, "value": value}


def _about_task(run: Run, task: str) -> tuple[dict[str, str | None], str]:
    """Where a task stands, and what its intervals are over."""
    level, parent = run.level(task), group_of([run], task)
    is_inside = parent is not None and run.level(parent) == "phenomenon"
    phenomenon = task if level == "phenomenon" else parent if is_inside else None
    return {"level": level, "phenomenon": phenomenon, "parent": parent}, over_examples(run, task)


def _score_rows(run: Run, anchor: Anchor, about_task: dict[str, tuple[dict[str, str | None], str]]) -> Iterator[dict]:
    made: dict[int, dict] = {}
    for task, result in anchor.results.tasks.items():
        about, over = about_task[task]
        if id(result.about) not in made:  # the tasks of one file share it
            made[id(result.about)] = _made_with(result)
        shared = {"task": task, "n": result.num_examples, **about, **made[id(result.about)]}
        for metric, score in result.metrics.items():
            stderr = accuracy_stderr(run, anchor, task) if metric == "acc" else score.stderr
            low, high = metric_interval(metric, score.value, stderr, result.num_samples) or (None, None)
            yield shared | {
                "metric": metric,
                "value": score.value,
                "stderr": stderr,
                "low": low,
                "high": high,
                "interval_over": over if low is not None else None,
            }


def _made_with(result: TaskResult) -> dict[str, str | None]:
    """Data and settings of a result, as far as it tells; settings are JSON."""
    made = conditions(result.about)
    settings = made["settings"] or ({"scoring": result.scoring} if result.scoring else {})
    text = json.dumps(settings, sort_keys=True, default=str) if settings else None
    return {"data": made["data"], "settings": text}


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
