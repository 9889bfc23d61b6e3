"""Finished or growing runs, read into a tidy table, learning curves with honest uncertainty, and a report page."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmeff.analysis.charts.drawing import write_png
    from lmeff.analysis.charts.figures import write_figures
    from lmeff.analysis.comparison.compare import Comparison, compare
    from lmeff.analysis.exports import all_notes, curves_csv, curves_json
    from lmeff.analysis.file_formats import check_output
    from lmeff.analysis.reading.mixed_settings import mixed_notes
    from lmeff.analysis.reading.paths import read_runs
    from lmeff.analysis.reading.runs import Anchor, Run
    from lmeff.analysis.report.report import write_output, write_report
    from lmeff.analysis.statistics.changes import Change, change
    from lmeff.analysis.statistics.tidy_table import tidy_table
    from lmeff.analysis.text import print_curves

_HOMES = {
    "statistics.changes": ("Change", "change"),
    "charts.drawing": ("write_png",),
    "comparison.compare": ("Comparison", "compare"),
    "file_formats": ("check_output",),
    "exports": ("all_notes", "curves_csv", "curves_json"),
    "charts.figures": ("write_figures",),
    "reading.mixed_settings": ("mixed_notes",),
    "reading.paths": ("read_runs",),
    "report.report": ("write_output", "write_report"),
    "reading.runs": ("Anchor", "Run"),
    "statistics.tidy_table": ("tidy_table",),
    "text": ("print_curves",),
}
"""The modules that are imported when one of their names is asked for, so that reading runs needs no charts."""

__all__ = [
    "Anchor",
    "Change",
    "Comparison",
    "Run",
    "all_notes",
    "change",
    "check_output",
    "compare",
    "curves_csv",
    "curves_json",
    "mixed_notes",
    "print_curves",
    "read_runs",
    "tidy_table",
    "write_figures",
    "write_output",
    "write_png",
    "write_report",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
