"""What the task files here refer to. lm-eval looks for `!function pairs.NAME` in this file."""

from lmeff.evaluation.scoring import (
    choices,
    context,
    contexts,
    continuation,
    continuations,
    majority,
    process_answers,
    process_forms,
    process_results,
    prompt,
    spearman,
)
from lmeff.evaluation.tasks.data import dataset

__all__ = [
    "choices",
    "context",
    "contexts",
    "continuation",
    "continuations",
    "dataset",
    "majority",
    "process_answers",
    "process_forms",
    "process_results",
    "prompt",
    "spearman",
]
