"""The figures of a page, by name, and writing them without the page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lmeff.analysis.charts.charts import has_pairs, main_figure, task_panels
from lmeff.analysis.charts.drawing import nothing_to_draw, render, render_pages
from lmeff.analysis.charts.series import Series, make_series
from lmeff.analysis.charts.weights_charts import weights_figure
from lmeff.analysis.endings import ENDINGS
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.report.views import ParadigmTable, paradigm_tables, paradigms_of, phenomena_of, task_titles
from lmeff.errors import InputError
from lmeff.files import write_bytes

NUM_PICKED = 6
"""Paradigms drawn before the reader chooses, spread over the order of acquisition."""


def page_figures(series: Sequence[Series], tables: Sequence[ParadigmTable]) -> dict[str, dict]:
    """`main`, `phenomena`, `paradigms` and `weights` as Vega-Lite specifications; those for which nothing was measured are left
    out."""
    phenomena = _pairs_only(series, phenomena_of(series))
    figures = {"main": main_figure(series), "phenomena": task_panels(series, task_titles(series, phenomena))}
    if order := drawn_paradigms(series, tables):
        picked = [order[i * (len(order) - 1) // (NUM_PICKED - 1)] for i in range(NUM_PICKED)]
        titles = task_titles(series, paradigms_of(series))
        figures["paradigms"] = task_panels(series, {task: titles[task] for task in order}, list(dict.fromkeys(picked)))
    figures["weights"] = weights_figure(series)
    return {name: spec for name, spec in figures.items() if spec is not None}


def drawn_paradigms(series: Sequence[Series], tables: Sequence[ParadigmTable]) -> list[str]:
    """The paradigms that have a curve to draw, in the order of acquisition of the first table."""
    return _pairs_only(series, dict.fromkeys(row.task for table in tables for row in table.rows))


def _pairs_only(series: Sequence[Series], tasks: Iterable[str]) -> list[str]:
    """Those with scores of minimal pairs, which share a line for chance; all of them where there are no such."""
    tasks = list(tasks)
    return [task for task in tasks if has_pairs(series, [task])] or tasks


def write_figure(runs: Sequence[Run], output: Path, name: str | None = None) -> Path:
    """Writes one figure of the page (by default the main one) as PNG or SVG; as PDF every figure, a page each, unless `name`
    says which. Raises InputError."""
    ending = output.suffix.lower()
    figures = _figures(runs, output)
    if name is None and ending == ".pdf":
        content = render_pages(list(figures.values()))
    elif (wanted := name or "main") in figures:
        content = render(figures[wanted], ending)
    else:
        raise InputError(f"--figure {wanted}: of these runs there are {', '.join(figures)}")
    write_bytes(output, content)
    return output


def write_figures(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Writes every figure of the page as `NAME.png`, `NAME.svg` and `NAME.pdf`. Raises InputError."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--figures {folder}: there is a file of that name; give a folder")
    written = []
    for name, spec in _figures(runs, folder).items():
        for ending in ENDINGS:
            written.append(folder / f"{name}{ending}")
            write_bytes(written[-1], render(spec, ending))
    return written


def _figures(runs: Sequence[Run], output: Path) -> dict[str, dict]:
    if not runs:
        raise InputError(f"{output}: no run to report on")
    series = make_series(runs)
    figures = page_figures(series, paradigm_tables(series))
    if not figures:
        raise nothing_to_draw(output)
    return figures
