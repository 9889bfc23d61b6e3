"""Figures as files: PNG, SVG and PDF, always in the light theme on white."""

import re
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import vl_convert

from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.series import make_series
from lmeff.analysis.charts.themes import LIGHT
from lmeff.analysis.reading.runs import Run
from lmeff.errors import InputError
from lmeff.files import write_bytes

VEGA_LITE_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
PNG_PIXELS_PER_INCH = 160
_TRANSLUCENT = re.compile(r'(<path[^>]*?) opacity="([^"]*)"')


def write_png(runs: Sequence[Run], path: str | Path, title: str | None = None) -> Path:
    """The main figure as a PNG on white. Raises InputError when there is nothing to draw yet."""
    path = Path(path)
    spec = main_figure(make_series(runs))
    if spec is None:
        raise nothing_to_draw(path)
    write_bytes(path, render_png(spec, title))
    return path


def nothing_to_draw(path: str | Path) -> InputError:
    return InputError(f"{path}: nothing to draw; no anchor has a loss or an accuracy yet")


def render_png(spec: dict, title: str | None = None) -> bytes:
    """A specification as PNG bytes."""
    svg = vl_convert.vegalite_to_svg(_light(spec, title), VEGA_LITE_VERSION)
    # A path that is translucent as a whole gets a layer as large as the picture, which takes most of the time of hundreds of
    # them; lines have no area and areas no line, so that it is the same of what they are painted with.
    painted = _TRANSLUCENT.sub(r'\1 fill-opacity="\2" stroke-opacity="\2"', svg)
    return vl_convert.svg_to_png(painted, ppi=PNG_PIXELS_PER_INCH)


def render(spec: dict, ending: str, title: str | None = None) -> bytes:
    """A specification as the content of a file with one of `file_formats.ENDINGS`; in SVG and PDF text is text."""
    if ending == ".png":
        return render_png(spec, title)
    if ending == ".svg":
        return vl_convert.vegalite_to_svg(_light(spec, title), VEGA_LITE_VERSION).encode()
    return vl_convert.vegalite_to_pdf(_light(spec, title), VEGA_LITE_VERSION)


def render_pages(specs: Sequence[dict]) -> bytes:
    """A PDF with a page for each specification, as large as its figure."""
    from io import BytesIO

    from pypdf import PdfWriter

    together, content = PdfWriter(), BytesIO()
    for spec in specs:
        together.append(BytesIO(render(spec, ".pdf")))
    together.write(content)
    return content.getvalue()


def as_chart(spec: dict) -> alt.TopLevelMixin:
    """A specification as a chart of Altair, which a notebook shows and which can be changed and saved."""
    return alt.Chart.from_dict(_light(spec, None))


def _light(spec: dict, title: str | None) -> dict:
    named = {"title": {"text": title, "anchor": "start", "fontSize": 16, "offset": 14}} if title else {}
    return {**spec, **named, "config": {**LIGHT, "padding": 16}}
