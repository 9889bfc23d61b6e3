"""Curves over seeds as tables that people read: recipes below each other, anchors side by side."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd

from lmeff.analysis.one_table.seed_curves import MADE
from lmeff.analysis.scores.observation import is_less_better
from lmeff.errors import InputError
from lmeff.intervals import cut_off, is_share, possible_range
from lmeff.quantities import format_short, format_tokens
from lmeff.text_tables import table_lines

LEVELS = ("task", "phenomenon", "paradigm")
"""What `--level` takes. `task`: what is part of no other; of a plain file, what has no phenomenon."""
_MOST_NAMED = 5

Point = dict[Hashable, Any]
"""A row of `seed_curves`."""

Anchor = tuple[int | None, str]
"""Tokens, or of what is at no known number of them its revision."""


@dataclass(frozen=True)
class Matrix:
    """The curves of one task and metric."""

    task: str
    metric: str
    unit: str
    """What anchors count."""
    made: str
    """What of data, settings and number of examples there are several of; else empty."""
    anchors: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Point | None, ...]], ...]
    """Recipe, number of seeds (`3`, or `2 to 3`), and what it has at each anchor."""

    @property
    def title(self) -> str:
        made = f", {self.made}" if self.made else ""
        how = "x 100: " if self.is_share else "loss: " if is_less_better(self.task, self.metric) else ""
        return f"{self.task} ({how}{self.metric}{made})"

    @property
    def is_share(self) -> bool:
        """Whether values are shown times 100."""
        return is_share(self.metric) and not is_less_better(self.task, self.metric)

    def value(self, row: Point | None) -> str:
        return "-" if row is None else self._number(row["mean"])

    def interval(self, row: Point | None, kind: str = "") -> str:
        """`[62.1, 65.7]`, `kind` being `bootstrap_` for that one; empty where there is none. It ends where what is measured
        does."""
        if row is None or pd.isna(row["low"]):
            return ""
        low, high = cut_off(row[f"{kind}low"], row[f"{kind}high"], possible_range(self.metric))
        return f"[{self._number(low)}, {self._number(high)}]"

    def _number(self, value: float) -> str:
        return f"{100 * value:.1f}" if self.is_share else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def at_level(curves: pd.DataFrame, level: str) -> pd.DataFrame:
    """The rows of a level of `LEVELS`."""
    if level == "task":
        return curves[curves["level"].isin(["group", "paradigm"]) & curves["parent"].isna()]
    return curves[curves["level"] == level]


def matrices(curves: pd.DataFrame) -> Iterator[Matrix]:
    """A table for each task and metric, and for each way in which it was measured. Ties of which there are none have no
    table."""
    for (task, metric, unit), of_task in curves.groupby(["task", "metric", "unit"], sort=False):
        if metric == "ties" and not of_task["mean"].any():
            continue
        differing = [name for name in MADE if of_task[name].nunique(dropna=False) > 1]
        for way, rows in of_task.groupby(MADE, sort=False, dropna=False):
            known = {name: said for name, said in zip(MADE, way, strict=True) if not pd.isna(said)}
            words = (f"n {known[name]:,}" if name == "n" else str(known[name]) for name in differing if name in known)
            yield _matrix(str(task), str(metric), str(unit), "; ".join(words), rows)


def _matrix(task: str, metric: str, unit: str, made: str, curves: pd.DataFrame) -> Matrix:
    points = curves.sort_values("nominal_tokens", kind="stable", na_position="last").to_dict("records")
    anchors = list(dict.fromkeys(map(_anchor, points)))
    by_recipe: dict[str, dict[Anchor, Point]] = {recipe: {} for recipe in curves["recipe"]}
    for point in points:
        by_recipe[point["recipe"]][_anchor(point)] = point
    lines = []
    for recipe, of_recipe in by_recipe.items():
        counts = sorted({point["num_seeds"] for point in of_recipe.values()})
        seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append((recipe, seeds, tuple(of_recipe.get(anchor) for anchor in anchors)))
    return Matrix(task, metric, unit, made, _names(anchors), tuple(lines))


def _anchor(point: Point) -> Anchor:
    tokens = point["nominal_tokens"]
    return (None, point["revision"]) if pd.isna(tokens) else (int(tokens), "")


def _names(anchors: Sequence[Anchor]) -> tuple[str, ...]:
    """As people read them; every digit of those that would read alike."""
    short = [revision if tokens is None else format_tokens(tokens) for tokens, revision in anchors]
    return tuple(
        f"{tokens:,}" if tokens is not None and short.count(name) > 1 else name
        for name, (tokens, _) in zip(short, anchors, strict=True)
    )


def mean_rows(matrix: Matrix, most: int | None = None) -> list[list[str]]:
    """A header, and a line for each recipe: means at every anchor, and the t interval of the last one."""
    rows = [["recipe", "seeds", *matrix.anchors, "95% t, last anchor"]]
    for recipe, seeds, points in matrix.rows[:most]:
        anchors = (point for point in reversed(points) if point and not pd.isna(point["nominal_tokens"]))
        rows.append([recipe, seeds, *map(matrix.value, points), matrix.interval(next(anchors, None)) or "-"])
    return rows


def matrix_lines(matrix: Matrix, most_rows: int) -> list[str]:
    """For a terminal."""
    lines = [matrix.title, "", *table_lines(mean_rows(matrix, most_rows), "<>")]
    if len(matrix.rows) > most_rows:
        lines.append(f"and {len(matrix.rows) - most_rows:,} recipes more; --csv has all of them")
    return lines


def long_rows(matrix: Matrix) -> list[list[str]]:
    """A header, and a line for each recipe and anchor with FLOPs and both intervals."""
    rows = [["recipe", matrix.unit, "FLOPs", "seeds", "mean", "95% t", "95% bootstrap"]]
    for recipe, _, points in matrix.rows:
        for name, point in zip(matrix.anchors, points, strict=True):
            if point is None:
                continue
            flops = "-" if pd.isna(point["flops"]) else format_short(point["flops"])
            ends = [matrix.interval(point), matrix.interval(point, "bootstrap_")]
            rows.append([recipe, name, flops, str(point["num_seeds"]), matrix.value(point), *ends])
    return rows


def wide_rows(matrix: Matrix) -> list[list[str]]:
    """A header, and a line for each recipe: `63.9 [62.1, 65.7]` at each anchor, the interval being Student's."""
    rows = [["recipe", "seeds", *matrix.anchors]]
    for recipe, seeds, points in matrix.rows:
        cells = (" ".join(filter(None, (matrix.value(point), matrix.interval(point)))) for point in points)
        rows.append([recipe, seeds, *cells])
    return rows


def chosen(curves: pd.DataFrame, level: str, tasks: Sequence[str] | None = None) -> pd.DataFrame:
    """The curves of a level, or of tasks that are named. Raises InputError where there are none."""
    there = list(dict.fromkeys([*at_level(curves, "task")["task"], *curves["task"]]))
    if unknown := [task for task in tasks or () if task not in there]:
        near = get_close_matches(unknown[0], there, 1)
        more = f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
        meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(there[:_MOST_NAMED])}{more}"
        raise InputError(f"--tasks {unknown[0]}: no values of it{meant}")
    found = curves[curves["task"].isin(tasks)] if tasks else at_level(curves, level)
    others = [other for other in LEVELS if found.empty and len(at_level(curves, other))]
    if others:
        raise InputError(f"--level {level}: no values at it; there are some of {', '.join(others)}")
    return found
