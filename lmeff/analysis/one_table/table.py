"""One tidy table of everything that was measured, our runs', other models' and plain CSV files' alike."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lmeff.analysis.reading.runs import Run
from lmeff.analysis.scores.observation import Observation, is_number
from lmeff.analysis.statistics.tidy_table import COLUMNS, tidy_table
from lmeff.intervals import metric_interval
from lmeff.quantities import format_count

FINAL = "final"
"""`revision` of a score that is at no known number of tokens."""


def one_table(runs: Sequence[Run], observations: Sequence[Observation] = ()) -> pd.DataFrame:
    """The tidy table of runs, and below it that of observations. Where a score is at no known number of tokens, or a seed no
    number, the columns can hold that: `Int64` and text in place of `int64`."""
    tables = [tidy_table(runs)] if runs or not observations else []
    if observations:
        tables.append(_of_observations(observations))
    return below_each_other(tables)


def below_each_other(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of runs and of observations as one. Where a seed of one of them is no number, all are text."""
    if len({table["seed"].dtype for table in tables}) > 1:
        tables = [table.astype({"seed": "str"}) for table in tables]
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def _of_observations(observations: Sequence[Observation]) -> pd.DataFrame:
    ends = [_interval(one) for one in observations]
    seeds = [one.seed for one in observations]
    tokens = [one.tokens for one in observations]
    columns: dict[str, list[Any]] = {
        "run": [one.cell for one in observations],
        "seed": [int(seed) for seed in seeds] if all(map(is_number, seeds)) else seeds,
        "corpus": [_known(one.corpus) for one in observations],
        "size": [_known(one.size) for one in observations],
        "vocab_size": [one.vocab_size for one in observations],
        "revision": [FINAL if count is None else format_count(count) for count in tokens],
        "nominal_tokens": tokens,
        "task": [one.task for one in observations],
        "metric": [one.metric for one in observations],
        "value": [one.value for one in observations],
        "stderr": [one.stderr for one in observations],
        "n": [one.n for one in observations],
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
        "interval_over": [None if low is None else "examples" for low, _ in ends],
        "family": [_known(one.family) for one in observations],
        "parameters": [one.num_parameters for one in observations],
        "tokens_per_step": [one.tokens_per_step for one in observations],
        "flops": [one.flops for one in observations],
        "phenomenon": [one.phenomenon for one in observations],
        "data": [one.data for one in observations],
        "settings": [one.settings for one in observations],
        "parent": list(map(_parent, observations)),
        "unit": [one.unit for one in observations],
    }
    columns["recipe"] = columns["run"]
    table = pd.DataFrame(columns).assign(level=list(map(_level, observations))).reindex(columns=list(COLUMNS))
    of_numbers = dict.fromkeys(("nominal_tokens", "exact_tokens"), "Int64")
    types = COLUMNS | of_numbers | {"seed": "int64" if all(map(is_number, seeds)) else "str"}
    return table.astype(types)


def _interval(one: Observation) -> tuple[float | None, float | None]:
    if one.stderr is None:
        return None, None
    return metric_interval(one.metric, one.value, one.stderr, one.n) or (None, None)


def _level(one: Observation) -> str:
    if one.suite is None or one.task not in (one.suite, one.phenomenon):
        return "paradigm"
    return "group" if one.task == one.suite else "phenomenon"


def _parent(one: Observation) -> str | None:
    """The group that a task is directly in."""
    if one.task == one.suite:
        return None
    return one.suite if one.task == one.phenomenon else one.phenomenon or one.suite


def _known(name: str) -> str | None:
    return None if name == "-" else name
