"""The figures of a page, by name, and writing them without the page."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from altair.utils.schemapi import debug_mode

from lmeff.analysis.charts.drawing import nothing_to_draw, render, render_pages
from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.panels import task_panels
from lmeff.analysis.charts.points import has_pairs
from lmeff.analysis.charts.series import Series, all_runs
from lmeff.analysis.charts.studies.box_plots import paradigm_boxes, seed_boxes
from lmeff.analysis.charts.studies.fans import fan_figure, grid_figure
from lmeff.analysis.charts.studies.grouped_phenomena import grouped_phenomena
from lmeff.analysis.charts.studies.heat_maps import paradigms_map, phenomena_map
from lmeff.analysis.charts.studies.histograms import lengths_figure, losses_figure
from lmeff.analysis.charts.studies.predictions import agreement_figure, errors_figure, predicted_figure
from lmeff.analysis.charts.studies.sweep_plots import sweep_figure
from lmeff.analysis.charts.studies.trade_offs import trade_off_figure
from lmeff.analysis.charts.studies.training_charts import training_figure
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.weights_charts import weights_figure
from lmeff.analysis.file_formats import ENDINGS
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import paradigms_of, phenomena_of, task_titles
from lmeff.analysis.statistics.acquisition import acquisition_order
from lmeff.analysis.statistics.curve import curves_of
from lmeff.errors import InputError
from lmeff.files import write_bytes

NUM_PICKED = 6
"""Paradigms drawn before the reader chooses, spread over the order of acquisition."""


def _phenomena_figure(series: Sequence[Series]) -> dict | None:
    runs = all_runs(series)
    return task_panels(series, task_titles(runs, _pairs_only(series, phenomena_of(runs))))


def _paradigms_figure(series: Sequence[Series]) -> dict | None:
    order = drawn_paradigms(series)
    if not order:
        return None
    picked = [order[i * (len(order) - 1) // (NUM_PICKED - 1)] for i in range(NUM_PICKED)]
    runs = all_runs(series)
    titles = task_titles(runs, paradigms_of(runs))
    return task_panels(series, {task: titles[task] for task in order}, list(dict.fromkeys(picked)))


FIGURES: dict[str, Callable[[Study], dict | None]] = {
    "main": lambda study: main_figure(study.series),
    "phenomena": lambda study: _phenomena_figure(study.series),
    "paradigms": lambda study: _paradigms_figure(study.series),
    "weights": lambda study: weights_figure(study.series),
    "grid": grid_figure,
    "grouped_phenomena": grouped_phenomena,
    "phenomena_map": phenomena_map,
    "paradigms_map": paradigms_map,
    "paradigm_boxes": paradigm_boxes,
    "seed_boxes": seed_boxes,
    "agreement": agreement_figure,
    "errors": errors_figure,
    "predicted": predicted_figure,
    "fan": fan_figure,
    "trade_offs": trade_off_figure,
    "sweep": sweep_figure,
    "training": training_figure,
    "losses": losses_figure,
    "lengths": lengths_figure,
}
"""What makes the Vega-Lite specification of each; None where nothing was measured that it shows."""


def page_figures(study: Study) -> dict[str, dict]:
    """`FIGURES` as Vega-Lite specifications; those for which nothing was measured are left out."""
    specs = {name: _made(name, study) for name in FIGURES}
    return {name: spec for name, spec in specs.items() if spec is not None}


def _made(name: str, study: Study) -> dict | None:
    # Altair would check every row against the schema of Vega-Lite, which takes most of the time.
    with debug_mode(False):
        return FIGURES[name](study)


def drawn_paradigms(series: Sequence[Series]) -> list[str]:
    """The paradigms that have a curve to draw, in the order of acquisition of the first series that has them."""
    paradigms = paradigms_of(all_runs(series))
    orders = [acquisition_order(curves_of(each.table, "acc", paradigms)) for each in series]
    return _pairs_only(series, dict.fromkeys(task for order in orders for task, _ in order))


def _pairs_only(series: Sequence[Series], tasks: Iterable[str]) -> list[str]:
    """Those with scores of minimal pairs, which share a line for chance; all of them where there are no such."""
    tasks = list(tasks)
    return [task for task in tasks if has_pairs(series, [task])] or tasks


def write_figure(runs: Sequence[Run] | Study, output: Path, name: str | None = None) -> Path:
    """Writes one figure of the page (by default the main one) as PNG or SVG; as PDF every figure, a page each, unless `name`
    says which. Raises InputError."""
    ending = output.suffix.lower()
    if name is None and ending == ".pdf":
        content = render_pages(list(_figures(runs, output).values()))
    else:
        content = render(figure_of(runs, name or "main", output), ending)
    write_bytes(output, content)
    return output


def figure_of(runs: Sequence[Run] | Study, name: str, output: str | Path = "figure") -> dict:
    """The Vega-Lite specification of one figure of the page. Raises InputError, which names the others."""
    study = Study.of(runs)
    if study.series and name in FIGURES and (alone := _made(name, study)):
        return alone
    raise InputError(f"--figure {name}: of these runs there are {', '.join(_figures(study, output))}")


def write_figures(runs: Sequence[Run] | Study, folder: Path) -> list[Path]:
    """Writes every figure of the page as `NAME.png`, `NAME.svg` and `NAME.pdf`. Raises InputError."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--figures {folder}: there is a file of that name; give a folder")
    written = []
    for name, spec in _figures(runs, folder).items():
        for ending in ENDINGS:
            written.append(folder / f"{name}{ending}")
            write_bytes(written[-1], render(spec, ending))
    return written


def _figures(runs: Sequence[Run] | Study, output: str | Path) -> dict[str, dict]:
    study = Study.of(runs)
    if not study.series:
        raise InputError(f"{output}: no run to report on")
    figures = page_figures(study)
    if not figures:
        raise nothing_to_draw(output)
    return figures
