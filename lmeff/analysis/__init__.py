"""Finished or growing runs, read into a tidy table, learning curves with honest uncertainty, and a report page."""

from lmeff.analysis.curves import Change, change
from lmeff.analysis.drawing import write_png
from lmeff.analysis.exports import all_notes, curves_csv, curves_json
from lmeff.analysis.figures import write_figures
from lmeff.analysis.mixed import mixed_notes
from lmeff.analysis.reading import read_runs
from lmeff.analysis.report import check_output, show_run, write_output, write_report
from lmeff.analysis.runs import Anchor, Run
from lmeff.analysis.table import tidy_table
from lmeff.analysis.text import print_curves

__all__ = [
    "Anchor",
    "Change",
    "Run",
    "all_notes",
    "change",
    "check_output",
    "curves_csv",
    "curves_json",
    "mixed_notes",
    "print_curves",
    "read_runs",
    "show_run",
    "tidy_table",
    "write_figures",
    "write_output",
    "write_png",
    "write_report",
]
