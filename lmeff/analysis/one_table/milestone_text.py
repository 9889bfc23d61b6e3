"""Milestones of curves as tables that people read."""

from collections.abc import Callable, Iterator

import pandas as pd

from lmeff.analysis.one_table.matrix import chosen
from lmeff.quantities import format_short, format_tokens

_NOT_SHARED = "seeds share no anchor"
Titled = tuple[str, list[list[str]]]
"""What a table shows, and its lines, the header first."""


def acquisition_tables(acquired: pd.DataFrame, level: str, tasks: list[str] | None) -> Iterator[Titled]:
    """For each metric when the threshold was reached for good, the earliest first within a recipe."""
    for (metric, threshold, axis, unit), rows in _shown(acquired, level, tasks, "threshold"):
        lines = [
            [
                "recipe",
                "task",
                f"{_counted(axis, unit)} to {100 * threshold:g}",
                "95%",
                "over",
                "95% bootstrap",
                "seeds",
            ]
        ]
        for row in rows.to_dict("records"):
            over = {"seeds": "seeds by themselves"}.get(row["interval_over"], row["interval_over"])
            ends = _interval(row, "low", "high", _reached)
            bootstrap = _interval(row, "bootstrap_low", "bootstrap_high", _reached)
            if row["num_seeds"] < 2 or pd.isna(row["last"]):
                bootstrap = "-"
            seeds = "-" if pd.isna(row["num_reached"]) else f"{row['num_reached']} of {row['num_seeds']}"
            first = "-" if pd.isna(over) else over
            lines.append([row["recipe"], row["task"], _reached(row, row["reached"]), ends, first, bootstrap, seeds])
        yield (
            f"where {metric} x 100 is {100 * threshold:g} or more from there to the last anchor that all seeds have",
            lines,
        )


def closeness_tables(close: pd.DataFrame, level: str, tasks: list[str] | None) -> Iterator[Titled]:
    """For each metric from which anchor on it is close to its end."""
    for (metric, within, axis, unit), rows in _shown(close, level, tasks, "within"):
        lines = [
            ["recipe", "task", f"{_counted(axis, unit)}, from", "95% bootstrap", "seeds by themselves", "end", "seeds"]
        ]
        for row in rows.to_dict("records"):
            ends = [_count(row, row[name]) for name in ("close_from", "earliest_seed", "latest_seed", "last")]
            if pd.isna(row["last"]):
                ends[0] = _NOT_SHARED
            alone = ends[1] if ends[1] == ends[2] else f"{ends[1]} to {ends[2]}"
            lines.append([row["recipe"], row["task"], ends[0], _bootstrap(row), alone, ends[3], str(row["num_seeds"])])
        yield f"from which anchor on {metric} x 100 is within {100 * within:g} of its end", lines


def _shown(table: pd.DataFrame, level: str, tasks: list[str] | None, name: str) -> Iterator[tuple[tuple, pd.DataFrame]]:
    if table.empty:
        return
    yield from chosen(table, level, tasks).groupby(["metric", name, "axis", "unit"], sort=False)


def _counted(axis: str, unit: str) -> str:
    """Words and tokens are not counted in one table."""
    return "FLOPs" if axis == "flops" else unit


def _count(row: dict, count: float) -> str:
    if pd.isna(count):
        return "-"
    return format_tokens(round(count)) if row["axis"] == "tokens" else format_short(count)


def _reached(row: dict, count: float) -> str:
    """`218M`; what is above at its first anchor may have been so before, and after the last one nobody has looked."""
    if pd.isna(row["last"]):
        return _NOT_SHARED
    if pd.isna(count):
        return f"not by {_count(row, row['last'])}"
    return f"{'<= ' if count == row['first'] else ''}{_count(row, count)}"


def _bootstrap(row: dict) -> str:
    return _interval(row, "bootstrap_low", "bootstrap_high", _count) if row["num_seeds"] > 1 else "-"


def _interval(row: dict, low: str, high: str, say: Callable[[dict, float], str]) -> str:
    """`[218M, 526M]`; `-` where there is none."""
    ends = [row[low], row[high]]
    return "-" if all(map(pd.isna, ends)) else f"[{', '.join(say(row, end) for end in ends)}]"
