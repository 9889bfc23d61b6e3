"""Scores of predictions, computed by `evaluate` from the modules in `metric_modules/`.

`evaluate.load("accuracy")` needs a network. These modules need none; `evaluate.load("FOLDER/acc")` reads them too. Here
their classes are used as they are, since `evaluate.load` copies a module into a folder of the user's home first.
"""

import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Any

import evaluate
import numpy as np

from lmeff.measures.finetuning.data import Example
from lmeff.measures.finetuning.metric_modules.acc.acc import Acc
from lmeff.measures.finetuning.metric_modules.f1.f1 import F1
from lmeff.measures.finetuning.metric_modules.mcc.mcc import Mcc
from lmeff.measures.finetuning.metric_modules.multirc.multirc import Multirc
from lmeff.measures.finetuning.metric_modules.pearson.pearson import Pearson
from lmeff.measures.finetuning.metric_modules.spearman.spearman import Spearman
from lmeff.measures.finetuning.tasks import Task

_MODULES = {
    "acc": Acc,
    "f1": F1,
    "f1_macro": F1,
    "mcc": Mcc,
    "pearson": Pearson,
    "spearman": Spearman,
    "f1a": Multirc,
    "em": Multirc,
}


@cache
def _module(kind: type[evaluate.Metric]) -> evaluate.Metric:
    with tempfile.TemporaryDirectory() as folder:  # it insists on making one, and keeps nothing in it
        return kind(keep_in_memory=True, cache_dir=folder, seed=0)


def predictions(task: Task, outputs: np.ndarray) -> np.ndarray:
    """What a model says, by example: the label with the highest logit (the first of equal ones), or the number.

    Args:
        outputs: (examples, labels) logits, or (examples, 1).
    """
    return outputs[:, 0] if task.is_regression else outputs.argmax(axis=1)


def score(task: Task, predicted: Sequence[float], examples: Sequence[Example]) -> dict[str, float]:
    """All metrics of a task, and `score`, the mean of its main ones."""
    references = [example.label for example in examples]
    values = {}
    for metric in task.metrics:
        extra: dict[str, Any] = (
            {"questions": [example.question for example in examples]} if metric in ("f1a", "em") else {}
        )
        if metric in ("f1", "f1_macro"):
            extra = {"average": "macro" if metric == "f1_macro" else "binary"}
        module = _module(_MODULES[metric])
        computed = module.compute(predictions=np.asarray(predicted).tolist(), references=references, **extra)
        values[metric] = computed["f1" if metric == "f1_macro" else metric]
    return {"score": float(np.mean([values[metric] for metric in task.main])), **values}


def constant_answer(task: Task, labels: Sequence[int | float]) -> int | float:
    """What a predictor that reads no text says best: the most frequent of the training labels (of equally frequent ones
    the first), or their mean."""
    return float(np.mean(labels)) if task.is_regression else int(np.bincount(labels).argmax())


def accuracy_stderr(predicted: Sequence[Sequence[float]], examples: Sequence[Example]) -> float | None:
    """Standard error of accuracy over examples, as lm-eval has it; with several seeds, of their mean.

    Args:
        predicted: (seeds, examples).
    """
    if len(examples) < 2:
        return None
    is_right = np.asarray(predicted) == np.asarray([example.label for example in examples])
    return float(is_right.mean(axis=0).std(ddof=1) / len(examples) ** 0.5)
