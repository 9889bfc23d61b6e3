"""One self-contained HTML page about one run or several, with the main figure beside it as a PNG; or figures alone."""

import base64
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from lmeff.analysis.charts.drawing import VEGA_LITE_VERSION, render_png
from lmeff.analysis.charts.figures import page_figures, write_figure
from lmeff.analysis.charts.points import headline_tasks
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.themes import DARK, DARK_CELLS, LIGHT, LIGHT_CELLS, cell_css, paper_css
from lmeff.analysis.file_formats import ENDINGS
from lmeff.analysis.reading.comparable import comparison_notes
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.report.sections import SECTIONS, PageContent
from lmeff.analysis.report.summary import summary
from lmeff.analysis.report.views import RunView
from lmeff.errors import InputError
from lmeff.files import write_text

PAGE = Path(__file__).parent / "page"
LONG_DATA = 1_500_000
"""Characters of JSON from which on the data of a page are compressed."""


def write_output(runs: Sequence[Run] | Study, output: str | Path, figure: str | None = None) -> list[Path]:
    """What the ending of `output` says, after `check_output`: a page with its picture, or figures. Returns the files. Raises
    InputError."""
    output = Path(output)
    if not output.is_dir() and output.suffix.lower() in ENDINGS:
        return [write_figure(runs, output, figure)]
    page = write_report(runs, output)
    return [page, *(path for path in [page.with_suffix(".png")] if path.is_file())]


def write_report(runs: Sequence[Run] | Study, output: str | Path, title: str | None = None) -> Path:
    """Writes the page to `output` and the main figure to the same name with `.png`; returns the page's path.

    The page needs no network and no other file: scripts, styles and data are inside it, and its content policy forbids
    it to load anything. When nothing was measured yet there is no figure and no PNG. Raises InputError.
    """
    output, study = Path(output), Study.of(runs)
    if not study.series:
        raise InputError(f"{output}: no run to report on")
    if output.is_dir():
        output = output / "report.html"
    if output.suffix.lower() == ".png":
        raise InputError(f"{output}: name the page, such as report.html; its figure gets the same name with .png")
    text, image = render_page(study, title)
    write_text(output, text)
    if image:
        output.with_suffix(".png").write_bytes(image)
    return output


def render_page(study: Study, title: str | None) -> tuple[str, bytes | None]:
    """The page as text, and its main figure as PNG bytes, for readers without JavaScript; None when there is no figure."""
    series, figures = study.series, page_figures(study)
    image = render_png(figures["main"]) if "main" in figures else None
    content = PageContent(study, figures, base64.b64encode(image).decode() if image else None)
    views = content.views
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.in").render(
        content.values,
        title=title or (views[0].run.name if len(views) == 1 else f"{len(views)} runs compared"),
        tasks=headline_tasks(series),
        summary=summary(study, views, len(content.missing)),
        held_out_columns=_held_out_columns(views),
        sections=[section.render(environment, content) for section in SECTIONS],
        notes=[f"{view.label}: {note}" if len(views) > 1 else note for view in views for note in view.mixed]
        + comparison_notes([each.group for each in series]),
        styles=_asset("page.css")
        .replace("/* light cells */", cell_css(LIGHT_CELLS))
        .replace("/* dark cells */", cell_css(DARK_CELLS))
        .replace("/* figures on paper */", paper_css()),
        **_page_data({"figures": figures, "themes": {"light": LIGHT, "dark": DARK}, "filters": content.filters.data}),
        libraries=_libraries() if figures else "",
        script=_asset("filters.js") + _asset("page.js"),
    )
    return page.removesuffix("\n"), image


def _held_out_columns(views: Sequence[RunView]) -> list[str]:
    """Headers of the held-out losses that some run has."""
    named = dict.fromkeys(name for view in views for name in list(view.loss_columns)[1:])
    last = [view.anchor_rows[-1]["losses"] for view in views if view.run.anchors]
    return [name for name in named if any(losses.get(name, "-") != "-" for losses in last)]


def _libraries() -> str:
    """The scripts that draw charts in a browser. Bundling takes seconds, and gives the same for one version, so the result is
    kept in the user's cache folder where that can be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lmeff"
    kept = cache / f"vega-{VEGA_LITE_VERSION}-{vl_convert.__version__}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE_VERSION)
    with suppress(OSError):
        write_text(kept, bundle)
    return bundle


def _asset(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _page_data(value: Mapping[str, Any]) -> dict[str, str]:
    """What the page's script reads: JSON, or where that is long the same compressed, which every browser since 2023 unpacks."""
    text = _script_json(value)
    if len(text) < LONG_DATA:
        return {"data": text, "data_type": "application/json"}
    figures = {name: _in_columns(spec) for name, spec in value["figures"].items()}
    packed = gzip.compress(_script_json({**value, "figures": figures}).encode(), mtime=0)
    return {"data": base64.b64encode(packed).decode(), "data_type": "application/gzip"}


def _in_columns(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification whose data are columns, which compress better than rows; the page's script makes rows of them again."""
    tables: dict[str, Any] = {}
    for name, rows in spec.get("datasets", {}).items():
        names = list(rows[0]) if rows else []
        is_table = bool(names) and all(list(row) == names for row in rows)
        tables[name] = {"names": names, "columns": [[row[key] for row in rows] for key in names]} if is_table else rows
    return {**spec, "datasets": tables}


def _script_json(value: object) -> str:
    """JSON that can stand inside a `<script>`: no tag can open or close in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
