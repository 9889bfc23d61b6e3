"""The score of every minimal pair of a revision: `pairs/*.parquet` of its results."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

from lmeff.errors import InputError


def read_pairs(paths: Iterable[Path]) -> pd.DataFrame:
    """Scores of minimal pairs: `task` (the paradigm), `pair`, `score`, and `item`, which pairs share that were made from one
    item of the data; each pair once. Raises InputError."""
    columns = ["task", "pair", "score"]
    frames = []
    for path in paths:
        try:
            shared = ["item"] if "item" in pyarrow.parquet.read_schema(path).names else []
            frame = pd.read_parquet(path, columns=columns + shared)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: not readable as scores of pairs ({' '.join(str(error).split())})") from None
        if frame["score"].isna().any():
            raise InputError(f"{path}: a score is NaN; evaluate this revision again")
        frames.append(frame if shared else frame.assign(item=frame["pair"]))
    if not frames:
        return pd.DataFrame(
            {
                "task": pd.Series(dtype=str),
                "pair": pd.Series(dtype=int),
                "score": pd.Series(dtype=float),
                "item": pd.Series(dtype=int),
            }
        )
    together = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return together.drop_duplicates(["task", "pair"], ignore_index=True)
