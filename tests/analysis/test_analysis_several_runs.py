"""A page of several runs of which some have no pairs: colors, notes, and ticks that fit."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lmeff.analysis import read_runs, write_report
from lmeff.analysis.charts.drawing import render
from lmeff.analysis.charts.figures import page_figures
from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.series import make_series
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.themes import LIGHT

pytestmark = pytest.mark.medium


def weigh(run: Path) -> None:
    for tokens in ("0", "25M"):
        path = run / "results" / f"seed-0-tokens-{tokens}" / "weights.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"alias": "weights", "norm,none": 3.0 + len(tokens), "norm_mlp,none": 2.0 + len(tokens)}
        result = {"results": {"weights": values}, "n-samples": {"weights": {"original": 1, "effective": 1}}}
        path.write_text(
            json.dumps(result | {"measures": "weights", "configs": {}, "versions": {}, "higher_is_better": {}})
        )


def colors(figure: dict, run: str) -> set[str]:
    """Of the points of a run, as they are drawn."""
    marks = re.findall(r"<path [^>]*>", render(figure, ".svg").decode())
    points = [mark for mark in marks if 'aria-roledescription="point"' in mark and f"series: {run}" in mark]
    return {re.search(r'fill="(#\w+)"', mark)[1] for mark in points}


def test_a_run_has_one_color_in_every_figure(fake_run):
    """Also where the run before it has nothing to show."""
    bare = fake_run(name="bare", anchors=(0, 25), scored=False)
    paired = fake_run(name="paired", anchors=(0, 25), num_pairs=5)
    weigh(paired)
    figures = page_figures(Study(read_runs([bare, paired])))
    names = ["main", "phenomena", "paradigms", "weights"]  # those with points
    assert [name for name in figures if name in names] == names
    first, second = LIGHT["range"]["category"][:2]
    assert colors(figures["main"], "bare") == {first}
    assert {name: colors(figures[name], "paired") for name in names} == {name: {second} for name in names}


def test_what_is_left_out_is_said_at_the_top(fake_run, tmp_path):
    """Where the table has a dash, and not in a part that is closed at first."""
    for name, start in (("old", None), ("new", "bos")):
        run = fake_run(name=name, anchors=(0, 25), num_pairs=5)
        for path in run.glob("results/*/lmeff_blimp.json"):
            settings = {"context_start": start} if start else {"limit": None}
            about = {"data_sha256": "d", "weights_sha256": path.parent.name, "settings": settings}
            path.write_text(json.dumps(json.loads(path.read_text()) | {"lmeff": about}))
    runs = read_runs([tmp_path / "outputs"])
    (note,) = (note for run in runs for note in run.left_out)
    header, _, rest = write_report(runs, tmp_path / "page.html").read_text().partition("</header>")
    assert f"<strong>Not comparable</strong>: old: {note}." in header
    assert "<td>-</td>" in header
    assert note not in rest


def test_a_note_on_one_run_is_at_the_top_too(fake_run, tmp_path):
    run = fake_run(anchors=(0, 25), num_pairs=5)
    path = next(run.glob("results/*-25M/lmeff_blimp.json"))
    document = json.loads(path.read_text())
    counts = {name: {"original": 4, "effective": 4} for name in document["n-samples"]}
    path.write_text(json.dumps(document | {"n-samples": counts}))
    header, _, rest = write_report(read_runs([run]), tmp_path / "page.html").read_text().partition("</header>")
    assert "<strong>Not comparable</strong>: lmeff_blimp: anchor" in header
    assert "Not comparable" not in rest


LONG_LABELS = (0, 50, 100, 250, 500, 750, 1250)


def test_the_last_tick_has_its_label(fake_run):
    """Vega leaves out the last of labels that overlap: 750M and 1.25B are near each other."""
    series = make_series(read_runs([fake_run(anchors=LONG_LABELS, num_pairs=2)]))
    svg = render(main_figure(series), ".svg").decode()
    assert svg.count('opacity="1">1.25B<') == 2
    assert svg.count('opacity="1">0<') == 2


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
@pytest.mark.parametrize("width", [330, 1000])
def test_the_last_tick_has_its_label_on_a_phone_too(fake_run, tmp_path, width):
    page = write_report(read_runs([fake_run(anchors=LONG_LABELS, num_pairs=2)]), tmp_path / "page.html")
    page.write_text(page.read_text().replace("</style>", f"main {{ width: {width}px }}</style>", 1))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=10000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900", "--dump-dom"]
    browser = subprocess.run(["chromium", *flags, page.resolve().as_uri()], capture_output=True, text=True, timeout=120)
    for name in ("main", "phenomena", "paradigms"):
        shown = re.search(rf'<figure data-figure="{name}">(.*?)</figure>', browser.stdout, re.DOTALL)[1]
        axes = re.findall(r'aria-label="X-axis[^"]*"(.*?)role-axis-title', shown, re.DOTALL)
        assert axes
        for axis in axes:
            visible = re.findall(r"<text ([^>]*)>([^<]+)<", axis)
            assert [text for style, text in visible if 'opacity="0"' not in style][-1] == "1.25B"
