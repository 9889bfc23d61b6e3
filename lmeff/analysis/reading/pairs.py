"""The score of every minimal pair of a revision: `pairs/*.parquet` of its results."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from lmeff.errors import InputError

TIE = 0.5
"""The score of a pair of which a model prefers neither."""


class _Pairs(NamedTuple):
    """The pairs of one file, or of none. Tasks are few and pairs many: numbers in place of names are compared and grouped
    several times as fast."""

    names: NDArray[Any] = np.empty(0, dtype=object)
    """Of the tasks, in order; `task` counts them."""
    task: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    pair: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    score: NDArray[np.float64] = np.empty(0)
    item: NDArray[np.int64] = np.empty(0, dtype=np.int64)


def read_pairs(paths: Iterable[Path]) -> pd.DataFrame:
    """Scores of minimal pairs: `task` (the paradigm, a category), `pair`, `score`, and `item`, which pairs share that were made
    from one item of the data; each pair once. Raises InputError."""
    pairs = _together(paths)
    tasks = pd.Categorical.from_codes(pairs.task, categories=pairs.names)
    return pd.DataFrame({"task": tasks, "pair": pairs.pair, "score": pairs.score, "item": pairs.item})


def count_ties(paths: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """By paradigm how many pairs are ties, and how many there are. Raises InputError."""
    pairs = _together(paths)
    ties = np.bincount(pairs.task, pairs.score == TIE, minlength=len(pairs.names)).astype(int)
    counts = np.bincount(pairs.task, minlength=len(pairs.names))
    return dict(zip(pairs.names.tolist(), zip(ties.tolist(), counts.tolist(), strict=True), strict=True))


def _together(paths: Iterable[Path]) -> _Pairs:
    """The pairs of all files, each once."""
    files = [_read(path) for path in paths]
    if len(files) < 2:
        return files[0] if files else _Pairs()
    names = np.unique(np.concatenate([file.names for file in files]))
    task = np.concatenate([np.searchsorted(names, file.names)[file.task] for file in files])
    pair, score, item = (
        np.concatenate(columns) for columns in zip(*((file.pair, file.score, file.item) for file in files), strict=True)
    )
    is_first = ~pd.Series(task * (pair.max(initial=0) + 1) + pair).duplicated().to_numpy()
    return _Pairs(names, task[is_first], pair[is_first], score[is_first], item[is_first])


def _read(path: Path) -> _Pairs:
    try:
        # By one thread: for so small files starting several takes longer than reading.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=["task"]) as file:
            has_items = "item" in file.schema_arrow.names
            table = file.read(["task", "pair", "score", *(["item"] if has_items else [])], use_threads=False)
        tasks = table["task"].unify_dictionaries().combine_chunks()
        names, of_task = np.unique(np.array(tasks.dictionary.to_pylist(), dtype=object), return_inverse=True)
        pair, score = table["pair"].to_numpy(), table["score"].to_numpy()
        item = table["item"].to_numpy() if has_items else pair
        found = _Pairs(names, of_task[tasks.indices.to_numpy()], pair, score, item)
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not readable as scores of pairs ({' '.join(str(error).split())})") from None
    if np.isnan(score).any():
        raise InputError(f"{path}: a score is NaN; evaluate this revision again")
    return found
