"""Figures as files: PNG, SVG and PDF, always in the light theme on white."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
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
_TRANSLUCENT = re.compile(r'(<path(?![^>]*-opacity=)[^>]*?) opacity="(?!1")([^"]*)"')
_CLIP = re.compile(r'<clipPath id="(\w+)">(.*?)</clipPath>')
_GROUP_OR_LINES = re.compile(
    r'<g class="mark-group role-scope (?P<group>\w+)_pathgroup"'
    r'|<g class="mark-\w+ role-mark (?P<lines>\w+)_marks"(?P<clip> clip-path="url\(#(?P<id>\w+)\)")'
)


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
    return _png(json.dumps(_light(spec, title)))


@lru_cache(maxsize=8)
def _png(spec: str) -> bytes:
    """Kept, since the card of a run's last anchor, that of its final revision and its report show one picture."""
    svg = vl_convert.vegalite_to_svg(spec, VEGA_LITE_VERSION)
    return vl_convert.svg_to_png(_with_few_layers(svg), ppi=PNG_PIXELS_PER_INCH)


def _with_few_layers(svg: str) -> str:
    """The same picture, painted sooner: what is translucent or clipped as a whole gets a layer as large as the picture, and
    hundreds of them take most of the time."""
    # A path here has a fill or a stroke, never both: so both opacities together look the same as one of the whole.
    return _TRANSLUCENT.sub(r'\1 fill-opacity="\2" stroke-opacity="\2"', _clipped_together(svg))


def _clipped_together(svg: str) -> str:
    """Vega clips each line of a group by a rectangle of its own; where all of these are equal, the group is clipped instead."""
    shapes = dict(_CLIP.findall(svg))
    clips: list[set[str]] = []
    """Of each group."""
    name = None
    for match in _GROUP_OR_LINES.finditer(svg):
        if match["group"]:
            name = match["group"]
            clips.append(set())
        elif match["lines"] == name:
            clips[-1].add(match["id"])
    groups = iter(clips)
    of_group: set[str] = set()

    def rewritten(match: re.Match[str]) -> str:
        nonlocal of_group
        if match["group"]:
            of_group = next(groups)
            if len({shapes[clip] for clip in of_group}) != 1:
                of_group = set()
            return match[0] + (f' clip-path="url(#{min(of_group)})"' if of_group else "")
        return match[0].removesuffix(match["clip"]) if match["id"] in of_group else match[0]

    return _GROUP_OR_LINES.sub(rewritten, svg)


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
