"""The tidy table of what was measured, and the forms it leaves in: CSV, JSON, and text for a terminal."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict
from math import isfinite

import pandas as pd

from lmeff.analysis.curves import NORMAL_95, changes, summarise_pairs
from lmeff.analysis.mixed import mixed_notes
from lmeff.analysis.runs import Anchor, Run
from lmeff.quantities import format_count, format_short

FORMAT = 1
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
}
LOSSES = {"loss": "train", "dev_loss": "dev", "dev_bits_per_byte": "dev", "dev_perplexity": "dev"}
"""Losses that `anchor.json` holds, and the `task` of their rows."""

OTHER_METRICS = {
    "score": "score x 100, the mean of its tasks or metrics",
    "spearman": "rank correlation with people's choices x 100",
}
"""What a task without an accuracy is shown by, and what that is."""

WEIGHTS = "weights"
"""`task` and `level` of the rows that measure the weights."""


def tidy_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run, revision, task and metric.

    `level` is group, phenomenon, paradigm, loss or weights. Accuracy is a share from 0 to 1, losses are nats per
    token; `stderr` is lm-eval's or, where it gives none for `acc`, the stratified one from the scores of the pairs; `n` counts
    examples; `unit` is what anchors count, `words` for BabyLM's. What was not measured has no row.
    """
    rows = [row for run in runs for anchor in run.anchors for row in _anchor_rows(run, anchor)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _anchor_rows(run: Run, anchor: Anchor) -> Iterator[dict]:
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
    for metric, task in LOSSES.items():
        value = getattr(document, metric)
        if value is not None:
            yield {**shared, "task": task, "level": "loss", "metric": metric, "value": value, "stderr": None, "n": None}
    for task, result in anchor.results.tasks.items():
        for metric, score in result.metrics.items():
            yield {
                **shared,
                "task": task,
                "level": run.level(task),
                "metric": metric,
                "value": score.value,
                "stderr": accuracy_stderr(run, anchor, task) if metric == "acc" else score.stderr,
                "n": result.num_examples,
            }

    for metric, value in anchor.results.weights.items():
        yield {**shared, "task": WEIGHTS, "level": WEIGHTS, "metric": metric, "value": value, "stderr": None, "n": None}


def accuracy_stderr(run: Run, anchor: Anchor, task: str) -> float | None:
    """Standard error of `acc`: lm-eval's, or else the one from the scores of the pairs; None when neither is known."""
    stated = anchor.results.tasks[task].metrics["acc"].stderr
    if stated is not None:
        return stated
    summary = summarise_pairs(run, anchor, task)
    return summary.stderr if summary and isfinite(summary.stderr) else None


def curves_csv(runs: Sequence[Run]) -> str:
    """The tidy table as CSV with a header line."""
    return tidy_table(runs).to_csv(index=False, lineterminator="\n")


def curves_json(runs: Sequence[Run]) -> dict:
    """Curves and changes of every run, ready for JSON: no NaN, null for what was not measured."""
    return {"format": FORMAT, "runs": [_run_json(run) for run in runs]}


def _run_json(run: Run) -> dict:
    return {
        "name": run.name,
        "seed": run.seed,
        "source": run.source,
        "unit": run.unit,
        "state": run.state.state if run.state else None,
        "error": run.state.error if run.state else None,
        "corpus": run.corpus,
        "size": run.size,
        "vocab_size": run.vocab_size,
        "num_parameters": run.num_parameters,
        "anchors": [_anchor_json(run, anchor) for anchor in run.anchors],
        "changes": [asdict(each) for each in changes(run)],
    }


def _anchor_json(run: Run, anchor: Anchor) -> dict:
    document = anchor.document
    results = {}
    for task, result in anchor.results.tasks.items():
        metrics = {name: asdict(score) for name, score in result.metrics.items()}
        if "acc" in metrics:
            metrics["acc"]["stderr"] = accuracy_stderr(run, anchor, task)
        summary = summarise_pairs(run, anchor, task) if task in run.headline_tasks else None
        results[task] = {"level": run.level(task), "n": result.num_examples, "metrics": metrics}
        if summary:
            results[task]["tie_rate"] = summary.tie_rate
    return {
        "revision": anchor.revision,
        "nominal_tokens": document.nominal_tokens,
        "exact_tokens": document.exact_tokens,
        "step": document.step,
        **{metric: getattr(document, metric) for metric in LOSSES},
        "results": results,
        "weights": anchor.results.weights,
    }


def print_curves(runs: Sequence[Run]) -> str:
    """For a terminal: per run one line an anchor, then what changed from the first to the last."""
    return "\n\n".join(_run_text(run) for run in runs) + "\n"


def _run_text(run: Run) -> str:
    state = run.state.state if run.state else run.source or "no state.json"
    facts = [state, run.corpus, f"{tokens_text(run.tokens)} {run.unit}"]
    if run.num_parameters:
        facts.append(f"{format_short(run.num_parameters)} parameters")
    lines = [f"{run.name}, seed {run.seed}: " + ", ".join(filter(None, facts))]
    if run.state and run.state.error:
        lines.append(f"error: {run.state.error}")
    if not run.anchors:
        return "\n".join([*lines, "no anchor yet"])
    tasks = [task for task in run.headline_tasks if any(accuracy(anchor, task) for anchor in run.anchors)]
    header = [run.unit, "step", "loss", "dev loss", "bits/byte", *tasks]
    lines += ["", *_aligned([header, *([*_loss_cells(a), *(accuracy(a, t, run) for t in tasks)] for a in run.anchors)])]
    others = {metric: [task for task in tasks if shown_by(run, task) == metric] for metric in OTHER_METRICS}
    if sum(map(len, others.values())) < len(tasks):
        lines.append("accuracy in %, with its 95% interval over examples")
    lines += [f"{', '.join(found)}: {OTHER_METRICS[metric]}" for metric, found in others.items() if found]
    return "\n".join([*lines, *map(str, changes(run)), *mixed_notes(run)])


def _loss_cells(anchor: Anchor) -> list[str]:
    document = anchor.document
    losses = (document.loss, document.dev_loss, document.dev_bits_per_byte)
    return [format_count(document.nominal_tokens), step_text(document.step), *map(loss_text, losses)]


def tokens_text(tokens: int) -> str:
    """A rounded number of tokens, with B for billions as recipes write it: `2B`, `131k`."""
    return format_short(tokens).replace("G", "B")


def step_text(step: int | None) -> str:
    """A step, or `-` for a model that is no run of ours."""
    return "-" if step is None else f"{step}"


def loss_text(value: float | None) -> str:
    """A loss with three decimals, or `-` when it was not measured."""
    return "-" if value is None else f"{value:.3f}"


def headline_metric(metrics: Container[str]) -> str | None:
    """What a task is shown by: `acc`, or one of `OTHER_METRICS`; None with none of them."""
    return next((metric for metric in ("acc", *OTHER_METRICS) if metric in metrics), None)


def shown_by(run: Run, task: str) -> str | None:
    """The `headline_metric` of a task."""
    found = [anchor.results.tasks[task].metrics for anchor in run.anchors if task in anchor.results.tasks]
    return headline_metric(found[-1]) if found else None


def accuracy(anchor: Anchor, task: str, run: Run | None = None) -> str:
    """`63.9 ± 0.4`: accuracy in percent and, given the run, half its 95% interval; empty when it was not measured. For a task
    that is shown by another metric, that times 100."""
    result = anchor.results.tasks.get(task)
    metric = headline_metric(result.metrics) if result else None
    if metric != "acc":
        return f"{100 * result.metrics[metric].value:.1f}" if metric else ""
    text = f"{100 * result.metrics['acc'].value:.1f}"
    stderr = accuracy_stderr(run, anchor, task) if run else None
    return text if stderr is None else f"{text} ± {100 * NORMAL_95 * stderr:.1f}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns flush right, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
