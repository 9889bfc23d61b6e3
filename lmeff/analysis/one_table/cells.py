"""Cells of the one tidy table that are missing, and those that are there more than once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmeff.analysis.one_table.seed_curves import KEYS, codes_of, made_apart
from lmeff.analysis.reading.groups import recipe_key
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.statistics.tidy_table import WEIGHTS
from lmeff.errors import InputError
from lmeff.quantities import format_tokens

_MOST_NAMED = 5


def check_no_copies(runs: Sequence[Run]) -> None:
    """Raises InputError for two folders that hold one seed of one recipe, and scores of one anchor: a copy is no second
    sample."""
    first: dict[tuple[str, int], Run] = {}
    mistakes = []
    for run in runs:
        other = first.setdefault((recipe_key(run), run.seed), run)
        if other is run:
            continue
        anchors = {anchor.revision for anchor in other.anchors} & {anchor.revision for anchor in run.anchors}
        if anchors:
            mistakes.append(
                f"{run.name}, seed {run.seed}: {len(anchors)} anchors are there twice, in {other.folder} and in {run.folder};"
                " name one of them"
            )
    if mistakes:
        raise InputError(*mistakes)


def check_no_duplicates(table: pd.DataFrame) -> None:
    """Raises InputError for two values of one run, anchor, task and metric that were made alike; names them."""
    points = made_apart(table, "seed")
    counts = np.bincount(points, minlength=1)
    if counts.max() > 1:
        is_first = ~pd.Series(points).duplicated().to_numpy()
        raise _there_twice(table[(counts[points] > 1) & is_first])


def check_not_repeated(table: pd.DataFrame, num_of_runs: int) -> None:
    """Raises InputError for values below the first `num_of_runs` that are those of one of these runs: its seed, anchor, task
    and metric are there, and nothing says that they were made otherwise."""
    points = codes_of(table, [*KEYS, "nominal_tokens", "unit", "seed"])
    is_new = table["data"].notna() | table["settings"].notna() | table["nominal_tokens"].isna()
    is_repeated = np.isin(points, points[:num_of_runs]) & ~is_new.to_numpy()
    is_repeated[:num_of_runs] = False
    if is_repeated.any():
        raise _there_twice(table[is_repeated])


def _there_twice(twice: pd.DataFrame) -> InputError:
    named = "; ".join(_named(row) for row in twice.head(_MOST_NAMED).itertuples())
    more = f"; and {len(twice) - _MOST_NAMED} more" if len(twice) > _MOST_NAMED else ""
    number = "1 value is" if len(twice) == 1 else f"{len(twice):,} values are"
    return InputError(
        f"{number} there more than once: {named}{more}; runs that differ in another column need it in --columns, as"
        " family=COLUMN, and values measured otherwise data=COLUMN or settings=COLUMN"
    )


def _named(row) -> str:
    at = row.revision if pd.isna(row.nominal_tokens) else format_tokens(row.nominal_tokens)
    return f"{row.recipe}, seed {row.seed}, {at}, {row.task} ({row.metric})"


def missing_cells(table: pd.DataFrame) -> pd.DataFrame:
    """`recipe`, `seed`, `task`, `metric`, `nominal_tokens` of values that are not there although other seeds of the recipe have
    them, or more than half of the runs that have come so far. What a run has not reached yet is not missing."""
    scores = table[(table["level"] != WEIGHTS) & table["nominal_tokens"].notna()]
    columns = ["recipe", "seed", "task", "metric", "nominal_tokens"]
    if scores.empty:
        return pd.DataFrame(columns=columns)
    runs = scores[["recipe", "seed"]].drop_duplicates().reset_index(drop=True)
    run_of = scores[["recipe", "seed"]].merge(runs.reset_index(), how="left", on=["recipe", "seed"])["index"].to_numpy()
    recipe_of, _ = pd.factorize(runs["recipe"])
    anchors, anchor_of = np.unique(scores["nominal_tokens"].to_numpy(dtype=np.int64), return_inverse=True)
    last = np.zeros(len(runs), dtype=int)
    np.maximum.at(last, run_of, anchor_of)
    is_reached = np.arange(len(anchors)) <= last[:, None]
    found = []
    measured_of, measured = pd.factorize(pd.MultiIndex.from_frame(scores[["task", "metric"]]))
    for index, (task, metric) in enumerate(measured):
        is_there = np.zeros(is_reached.shape, dtype=bool)
        rows = measured_of == index
        is_there[run_of[rows], anchor_of[rows]] = True
        of_recipe = np.zeros((recipe_of.max() + 1, len(anchors)), dtype=int)
        np.add.at(of_recipe, recipe_of, is_there.astype(int))
        takes_part = (of_recipe.sum(1) > 0)[recipe_of]
        so_far = is_reached & takes_part[:, None]
        is_usual = is_there.sum(0) > so_far.sum(0) / 2
        is_wanted = so_far & ((of_recipe[recipe_of] > 0) | is_usual)
        for run, anchor in np.argwhere(is_wanted & ~is_there):
            found.append((runs.at[run, "recipe"], runs.at[run, "seed"], task, metric, int(anchors[anchor])))
    return pd.DataFrame(found, columns=columns)


def missing_lines(missing: pd.DataFrame) -> list[str]:
    """A line that says how many cells are missing, and a line for each run that lacks some."""
    if missing.empty:
        return []
    lines = [f"missing: {len(missing):,} values that other runs have"]
    for (recipe, seed), rows in missing.groupby(["recipe", "seed"], sort=False):
        by_anchors: dict[tuple[int, ...], list[str]] = {}
        for task, of_task in rows.groupby("task", sort=False):
            by_anchors.setdefault(tuple(dict.fromkeys(of_task["nominal_tokens"])), []).append(str(task))
        for anchors, tasks in by_anchors.items():
            named = ", ".join(tasks[:_MOST_NAMED]) + (
                f" and {len(tasks) - _MOST_NAMED} more" * (len(tasks) > _MOST_NAMED)
            )
            lines.append(f"missing: {recipe}, seed {seed}: {named} at {', '.join(map(format_tokens, anchors))}")
    return lines
