"""Finished or growing runs, read into a tidy table, learning curves with honest uncertainty, and a report page."""

from lmeff.analysis.charts import write_png
from lmeff.analysis.curves import Change, change
from lmeff.analysis.mixed import mixed_notes
from lmeff.analysis.reading import read_runs
from lmeff.analysis.report import show_run, write_report
from lmeff.analysis.runs import Anchor, Run
from lmeff.analysis.table import curves_csv, curves_json, print_curves, tidy_table

__all__ = [
    "Anchor",
    "Change",
    "Run",
    "change",
    "curves_csv",
    "curves_json",
    "mixed_notes",
    "print_curves",
    "read_runs",
    "show_run",
    "tidy_table",
    "write_png",
    "write_report",
]
