"""Learning curves over seeds from the one tidy table: a row for each recipe, task, metric and anchor."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmeff.analysis.statistics.over_seeds import mean_intervals

KEYS = ["recipe", "task", "metric"]
MADE = ["data", "settings", "n"]
"""Values of a point that differ in one of these are no second sample of one thing: each has a mean of its own."""
APART = [*MADE, "unit"]
"""What tells two curves of a recipe, task and metric from each other: 10M words are no 10M tokens."""
ABOUT = [
    "level",
    "phenomenon",
    "corpus",
    "family",
    "size",
    "parameters",
    "vocab_size",
    "tokens_per_step",
    "unit",
    "parent",
]
INTERVALS = ["mean", "low", "high", "bootstrap_low", "bootstrap_high"]
COLUMNS = [*KEYS, "revision", "nominal_tokens", "flops", "num_seeds", *INTERVALS, "seeds", *MADE, *ABOUT]


def seed_curves(table: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`: the mean over the seeds of a recipe at every anchor, how many they are, and two 95% intervals over seeds:
    `low` to `high` is Student's, the other the bootstrap's. One seed has no interval. `flops` is the mean over seeds, and
    unknown where it is of one of them. Row by row the points that `made_apart` numbers."""
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    points = made_apart(table)
    found = np.full((int(points.max()) + 1, len(INTERVALS)), np.nan)
    num_seeds = np.bincount(points)
    order = np.argsort(points, kind="stable")
    values = table["value"].to_numpy()[order]
    starts = np.cumsum(num_seeds) - num_seeds
    for number in np.unique(num_seeds):
        of_number = np.flatnonzero(num_seeds == number)
        found[of_number] = mean_intervals(values[starts[of_number][:, None] + np.arange(number)])
    first = order[starts]
    curves = table.iloc[first].reset_index(drop=True)
    curves[INTERVALS] = found
    curves["num_seeds"] = num_seeds
    flops = table["flops"].to_numpy()[order]
    curves["flops"] = np.add.reduceat(flops, starts) / num_seeds
    seeds = table["seed"].astype(str).to_numpy()[order]
    curves["seeds"] = [" ".join(seeds[start : start + number]) for start, number in zip(starts, num_seeds, strict=True)]
    return curves[COLUMNS]


def made_apart(table: pd.DataFrame, *more: str) -> np.ndarray:
    """(rows,): the number of the point of a curve that a row is of, in order of appearance. Points whose data, settings,
    numbers of examples or units differ are different ones."""
    return codes_of(table, [*KEYS, "nominal_tokens", *APART, *more])


def codes_of(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """(rows,): rows that are equal in these columns have one number, in order of appearance. Nothing equals nothing: a score
    at no known number of tokens is a point of its own."""
    codes = np.zeros(len(table), dtype=np.int64)
    for name in names:
        of_column = pd.factorize(table[name])[0] + 1
        codes = pd.factorize(codes * (int(of_column.max(initial=0)) + 1) + of_column)[0]
    return codes
