"""Every statistic, by the name that the JSON of `lmeff curves` gives it. A new one is a module here and a line below."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd

from lmeff.analysis.reading.groups import Group
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.statistics.changes import changes
from lmeff.analysis.statistics.seeds import seed_changes, seed_means

Row = dict[str, Any]
"""An estimate with `low` and `high`, the ends of its 95% interval, and what tells the rows of a statistic apart."""


def _changes(run: Run) -> list[Row]:
    return [asdict(each) | {"interval_over": each.over} for each in changes(run)]


def _seed_means(group: Group, table: pd.DataFrame) -> list[Row]:
    rows: list[Row] = seed_means(group, table).to_dict("records")
    return rows


def _seed_changes(group: Group, _table: pd.DataFrame) -> list[Row]:
    return [asdict(each) for each in seed_changes(group)]


OF_A_RUN: dict[str, Callable[[Run], list[Row]]] = {"changes": _changes}
"""What one run says; the intervals are over the examples of its tasks."""
OF_SEEDS: dict[str, Callable[[Group, pd.DataFrame], list[Row]]] = {"means": _seed_means, "changes": _seed_changes}
"""What two or more seeds of a recipe say, given the tidy table of its runs; the intervals are over seeds."""
