"""Scores in the forms that a revision's card, the card's metadata and the Hub's `.eval_results/` need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry

from lmeff.formats.result import scoring_words
from lmeff.intervals import metric_interval


@dataclass(frozen=True)
class CardScore:
    """One result of a revision."""

    task: str
    """lm-eval's name of it."""
    metric: str
    """Such as `acc`."""
    value: float
    stderr: float | None
    num_examples: int | None
    limit: int | None = None
    """Only so many examples of each task were scored; None: all."""
    is_adaptive: bool = False
    """Scored in precision `adaptive`."""
    num_items: int | None = None
    """Where several examples were made from one item: the number of items, over which the interval is taken."""
    context_start: str | None = None
    """What contexts began with, `bos` or `tokenizer`."""
    is_older: bool = False
    """Scored by an older version, which does not say what contexts began with."""
    scoring: str | None = None
    """How texts were scored, as `scoring_of` says it."""


DATASETS = {"lmeff_blimp": "nyu-mll/blimp"}
"""The data sets of the Hub that tasks are made from."""

_CONTEXT_STARTS = {
    "bos": "contexts began with one `<s>` (context_start bos)",
    "tokenizer": "contexts began as the tokenizer begins a text (context_start tokenizer)",
}


def eval_results(scores: Sequence[CardScore]) -> list[EvalResult]:
    """The scores as a card's metadata has them. One over a part of a task's examples says so, and is of no known data set."""
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.task if score.limit else DATASETS.get(score.task, score.task),
            dataset_name=", ".join([score.task, *_distinctions(score)]),
            dataset_args=_arguments(score) or None,
            metric_type="accuracy" if score.metric in ("acc", "acc_norm") else score.metric,
            metric_name=score.metric,
            metric_value=score.value,
        )
        for score in scores
        if score.metric != "majority"  # a baseline of the task, and nothing of the model
    ]


def context_start_words(score: CardScore) -> str | None:
    """What contexts began with, in words; None where that does not matter."""
    if score.is_older:
        return "scored by an older version, which does not say what contexts began with"
    return _CONTEXT_STARTS.get(score.context_start or "")


def _distinctions(score: CardScore) -> list[str]:
    """What a score has to be told apart by from others of its task."""
    part = [part_words(score.limit)] if score.limit else []
    return part + (["context_start tokenizer"] if score.context_start == "tokenizer" else [])


def _arguments(score: CardScore) -> dict[str, Any]:
    scoring = score.scoring if scoring_words(score.scoring) else None
    found = {"limit": score.limit, "context_start": score.context_start, "scoring": scoring}
    return {name: value for name, value in found.items() if value}


def part_words(limit: int) -> str:
    """Which examples were scored, where not all were."""
    return f"first {limit:,} examples of each task"


def score_text(score: CardScore | None) -> str:
    """A table's cell: the value with its 95% interval over examples; empty without a score."""
    if score is None:
        return ""
    num_samples = score.num_examples if score.num_items is None else score.num_items
    interval = metric_interval(score.metric, score.value, score.stderr, num_samples)
    return f"{score.value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def hub_entries(scores: Sequence[CardScore], date: str | None, source_url: str | None) -> list[EvalResultEntry]:
    """The accuracies over whole data sets of the Hub, in the form of its `.eval_results/`."""
    return [
        EvalResultEntry(
            dataset_id=DATASETS[score.task],
            task_id=score.task,
            value=round(100 * score.value, 4),
            date=date,
            source_url=source_url,
            source_name="lmeff" if source_url else None,
            notes=f"{score.metric}, zero-shot, percent"
            + (", adaptive precision" if score.is_adaptive else "")
            + (f", context_start {score.context_start}" if score.context_start else "")
            + (f", {words}" if (words := scoring_words(score.scoring)) else ""),
        )
        for score in scores
        if score.task in DATASETS and score.metric == "acc" and not score.limit
    ]
