"""What `lmeff curves` reads, and the forms in which it shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd

from lmeff.analysis.exports import all_notes, curves_json, curves_table, json_text, records
from lmeff.analysis.one_table.cells import (
    check_no_copies,
    check_no_duplicates,
    check_not_repeated,
    missing_cells,
    missing_lines,
)
from lmeff.analysis.one_table.matrix import chosen, matrices, matrix_lines
from lmeff.analysis.one_table.milestone_text import Titled, acquisition_tables, closeness_tables
from lmeff.analysis.one_table.milestones import THRESHOLD, WITHIN, acquisition, closeness
from lmeff.analysis.one_table.notes import step_notes, table_notes
from lmeff.analysis.one_table.paper import curves_latex, curves_markdown
from lmeff.analysis.one_table.seed_curves import seed_curves
from lmeff.analysis.one_table.table import one_table
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.scores.observation import Observation
from lmeff.analysis.scores.paths import read_measured
from lmeff.analysis.text import print_curves
from lmeff.errors import InputError
from lmeff.text_tables import table_lines

MOST_ROWS = 50
"""So many recipes of a task are shown in a terminal."""


@dataclass(frozen=True)
class Wanted:
    """What is to be shown of curves."""

    level: str = "task"
    tasks: list[str] | None = None
    """These in place of a level."""
    axis: str = "tokens"
    scale: str = "log"
    """Of the axis, along which curves are straight between two anchors."""
    threshold: float | None = None
    """Say when it is reached."""
    within: float | None = None
    """Say from which anchor on a curve is so close to its end."""


@dataclass(frozen=True)
class Curves:
    """Everything that `lmeff curves` read, and how it shows it."""

    runs: list[Run]
    observations: list[Observation]
    said: list[str]
    """What was said while it was read."""

    @classmethod
    def read(cls, paths: Sequence[str | Path], columns: str = "", said: Sequence[str] = ()) -> Self:
        """What lies at the paths. Raises InputError for what cannot be read, and for values that are there more than once."""
        measured = read_measured(paths, columns)
        check_no_copies(measured.runs)
        curves = cls(measured.runs, measured.observations, [*said, *measured.notes])
        check_no_duplicates(curves.values)
        check_not_repeated(curves.values, len(curves.values) - len(curves.observations))
        return curves

    @cached_property
    def values(self) -> pd.DataFrame:
        """The one tidy table."""
        return one_table(self.runs, self.observations)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The one tidy table, with means over seeds beside every value."""
        return curves_table(self.runs, self.observations)

    @cached_property
    def over_seeds(self) -> pd.DataFrame:
        return seed_curves(self.values)

    @cached_property
    def table_notes(self) -> list[str]:
        """What was read from plain tables and how, what of it cannot be compared, and which values are missing."""
        observed = self.values.tail(len(self.observations))
        return [
            *self.said,
            *table_notes(observed),
            *step_notes(self.values),
            *missing_lines(missing_cells(self.values)),
        ]

    @property
    def notes(self) -> list[str]:
        """What to know of the numbers, a line each."""
        return [*all_notes(self.runs), *self.table_notes]

    def milestones(self, wanted: Wanted) -> list[Titled]:
        """When thresholds are reached, and from where on curves are close to their end, as far as it is wanted."""
        tables: list[Titled] = []
        is_wanted = wanted.threshold is not None or wanted.within is not None
        if is_wanted and wanted.axis == "flops" and self.values["flops"].isna().all():
            raise InputError("--axis flops: of none of these runs FLOPs are known (--columns flops=COLUMN)")
        if wanted.threshold is not None:
            acquired = acquisition(self.values, wanted.threshold, wanted.axis, wanted.scale)
            tables += acquisition_tables(acquired, wanted.level, wanted.tasks)
        if wanted.within is not None:
            tables += closeness_tables(closeness(self.values, wanted.within, wanted.axis), wanted.level, wanted.tasks)
        return tables

    def json(self, wanted: Wanted) -> str:
        """Everything, with milestones by the thresholds that are wanted or the usual ones."""
        document = curves_json(self.runs, self.observations, self.table_notes, self.values)
        threshold = THRESHOLD if wanted.threshold is None else wanted.threshold
        within = WITHIN if wanted.within is None else wanted.within
        document["acquired"] = records(acquisition(self.values, threshold, wanted.axis, wanted.scale))
        document["close"] = records(closeness(self.values, within, wanted.axis))
        return json_text(document) + "\n"

    def text(self, form: str | None = None, wanted: Wanted = Wanted()) -> str:
        """All as `json` or `csv`; means over seeds as `markdown` or `latex`; None: for a terminal. Raises InputError for tasks
        that are not there."""
        if form == "csv":
            return self.table.to_csv(index=False, lineterminator="\n")
        if form == "json":
            return self.json(wanted)
        if form is None:
            return self._for_terminal(wanted)
        found = list(matrices(chosen(self.over_seeds, wanted.level, wanted.tasks)))
        write = curves_markdown if form == "markdown" else curves_latex
        return write(found, wanted.axis == "flops", self.milestones(wanted), self.notes)

    def _for_terminal(self, wanted: Wanted) -> str:
        if wanted.tasks:
            chosen(self.over_seeds, wanted.level, wanted.tasks)
        num_of_runs = len(self.values) - len(self.observations)
        parts = (
            [print_curves(self.runs, self.values.iloc[:num_of_runs]).rstrip("\n")]
            if self.runs or not self.observations
            else []
        )
        if self.observations:
            theirs = matrices(seed_curves(self.values.iloc[num_of_runs:]))
            parts += ["\n".join(matrix_lines(matrix, MOST_ROWS)) for matrix in theirs]
        parts += ["\n".join([title, "", *table_lines(lines, "<<>")]) for title, lines in self.milestones(wanted)]
        return "\n\n".join([*parts, *(["\n".join(self.table_notes)] if self.table_notes else [])]) + "\n"
