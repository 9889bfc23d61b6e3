"""The table of a result's minimal pairs (`pairs/TASK.parquet`), made from what a model answered."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from lmeff.evaluation.scoring import pair_score
from lmeff.formats.result import pairs_path

PAIR_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("pair", pa.int32()),
        ("good", pa.float64()),
        ("bad", pa.float64()),
        ("score", pa.float64()),
    ]
)
"""One row a minimal pair: its paradigm's task, its index in the published file, the log-probabilities of the acceptable
and the unacceptable sentence in nats, and 1, 0.5 or 0."""
ITEM, IN_FLOAT32 = "item", "in_float32"
"""Further columns: of which item a pair was made, by the number of the item's first pair; whether it was scored in float32."""


def pair_table(
    task: str,
    log_probabilities: Sequence[float],
    items: Sequence[Hashable],
    in_float32: Sequence[bool] | None = None,
) -> pa.Table:
    """`PAIR_SCHEMA` rows of one task, with `item` and, where it is known, `in_float32`.

    Args:
        log_probabilities: of the acceptable and the unacceptable sentence of each pair in turn.
        items: what each pair was made from.
        in_float32: which of the log-probabilities were computed in float32.
    """
    good, bad = log_probabilities[::2], log_probabilities[1::2]
    scores = list(map(pair_score, good, bad))
    table = pa.table([[task] * len(good), range(len(good)), good, bad, scores], schema=PAIR_SCHEMA)
    first: dict[Hashable, int] = {}
    numbers = [first.setdefault(item, number) for number, item in enumerate(items)]
    table = table.append_column(ITEM, pa.array(numbers, pa.int32()))
    if in_float32 is None:
        return table
    return table.append_column(IN_FLOAT32, pa.array(in_float32[::2], pa.bool_()))


def num_items(table: pa.Table) -> int:
    """From how many items the pairs of one task were made."""
    return len(pyarrow.compute.unique(table[ITEM]))


def join_pair_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """The pairs of several tasks; without `item` where every pair is an item of its own."""
    is_shared = any(num_items(table) < table.num_rows for table in tables)
    together = pa.concat_tables(tables).combine_chunks()
    return together if is_shared else together.drop_columns([ITEM])


def has_pairs(path: Path, about: dict) -> bool:
    """Whether the pairs of a result, if it is one of minimal pairs, are beside it."""
    num_pairs, table = about.get("num_pairs"), pairs_path(path)
    return num_pairs is None or (table.is_file() and pyarrow.parquet.read_metadata(table).num_rows == num_pairs)
