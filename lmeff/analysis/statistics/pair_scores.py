"""What the scores of minimal pairs say about a task at one anchor: its mean, how sure that is, and ties."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from lmeff.analysis.reading.pairs import TIE, count_ties
from lmeff.analysis.reading.runs import Anchor, Run

_paradigm_scores: WeakKeyDictionary[Anchor, pd.DataFrame] = WeakKeyDictionary()
"""Computed once for each anchor, since many tasks and tables ask for them."""
_ties: WeakKeyDictionary[Anchor, dict[str, tuple[int, int]]] = WeakKeyDictionary()
"""As these, of anchors whose results do not count them."""


@dataclass(frozen=True)
class PairSummary:
    """What the scores of one anchor's pairs say about one task."""

    stderr: float
    """Standard error of the mean over paradigms; NaN when a paradigm has a single pair, or pairs of a single item."""
    tie_rate: float
    num_pairs: int


def paradigm_scores(anchor: Anchor) -> pd.DataFrame:
    """By paradigm (index): `mean`, `size` and `ties` of the scores of its pairs, and `stderr` of the mean, over items."""
    if anchor not in _paradigm_scores:
        _paradigm_scores[anchor] = _computed(anchor.pairs)
    return _paradigm_scores[anchor]


def _computed(pairs: pd.DataFrame) -> pd.DataFrame:
    names, of_task = pairs["task"].cat.categories, pairs["task"].cat.codes.to_numpy(np.int64)
    score, item = pairs["score"].to_numpy(), pairs["item"].to_numpy()
    size = np.bincount(of_task, minlength=len(names))
    mean = np.bincount(of_task, score, minlength=len(names)) / size
    # What items add to the sum of deviations is what was sampled (Liang & Zeger 1986).
    key = of_task * (item.max(initial=0) + 1) + item
    _, first, of_item = np.unique(key, return_index=True, return_inverse=True)
    squares = np.bincount(of_item, score - mean[of_task]) ** 2
    num_items = np.bincount(of_task[first], minlength=len(names))
    several = np.where(num_items > 1, num_items, np.nan)
    variance = several / (several - 1) * np.bincount(of_task[first], squares, minlength=len(names))
    ties = np.bincount(of_task, score == TIE, minlength=len(names))
    columns = {"mean": mean, "size": size, "ties": ties, "stderr": np.sqrt(variance) / size}
    return pd.DataFrame(columns, index=pd.Index(names, name="task"))


def summarize_pairs(run: Run, anchor: Anchor, task: str) -> PairSummary | None:
    """Standard error and ties of `task` at an anchor; None without scores of pairs.

    The standard error is that of a stratified mean, the strata being paradigms: `sqrt(sum(stderr ** 2)) / paradigms`.
    With equally many pairs in each it equals the pooled one of lm-eval. Pairs of one item count as one sample.
    """
    scores = paradigm_scores(anchor)
    scores = scores[scores.index.isin(run.paradigms(task))]
    if scores.empty:
        return None
    num_pairs = int(scores["size"].sum())
    stderr = np.sqrt((scores["stderr"] ** 2).sum(skipna=False)) / len(scores)
    return PairSummary(float(stderr), float(scores["ties"].sum() / num_pairs), num_pairs)


def tie_rate(run: Run, anchor: Anchor, task: str) -> float | None:
    """The share of the pairs of `task` with a tie, as `summarize_pairs` has it; None without scores of pairs, of which only
    those of results that do not count ties are read."""
    result = anchor.results.tasks.get(task)
    if anchor.pair_paths and result and result.num_ties is not None and result.num_examples:
        return result.num_ties / result.num_examples
    if anchor not in _ties:
        _ties[anchor] = count_ties(anchor.pair_paths)
    counted = _ties[anchor]
    counts = [counted[name] for name in run.paradigms(task) if name in counted]
    return sum(ties for ties, _ in counts) / sum(number for _, number in counts) if counts else None
