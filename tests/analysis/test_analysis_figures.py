"""Figures as files and on paper: in the form that the ending says, light on white, with text that is text."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from analysis.fake_runs import write_fake_run

from lmeff.analysis import read_runs, write_report
from lmeff.analysis.charts.themes import DARK, DARK_COLORS, LIGHT
from lmeff.cli import main

NAMES = ("main", "phenomena", "paradigms", "grouped_phenomena", "paradigm_boxes", "training", "losses")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with a long name, whose subtitles are long too."""
    folder = tmp_path_factory.mktemp("figures") / "outputs"
    return write_fake_run(folder, num_pairs=5, anchors=(0, 25, 1250))


def words_of(svg: str) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


@pytest.mark.medium
def test_svg_is_the_main_figure_light_on_white_with_text(run, tmp_path, capsys):
    assert main(["report", str(run), "-o", str(tmp_path / "x.svg")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.svg'}\n"
    svg = (tmp_path / "x.svg").read_text()
    assert svg.startswith("<svg")
    assert 'fill="#ffffff"' in svg.split("<g")[0]
    for word in ("Loss", "Accuracy on minimal pairs", "1.25B", "Training tokens"):
        assert word in words_of(svg)
    assert [path.name for path in tmp_path.iterdir()] == ["x.svg"]


@pytest.mark.medium
def test_png_is_a_png(run, tmp_path):
    assert main(["report", str(run), "-o", str(tmp_path / "x.PNG"), "--figure", "phenomena"]) == 0
    assert (tmp_path / "x.PNG").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.medium
def test_pdf_holds_every_figure_of_the_page_a_page_each_and_text_as_text(run, tmp_path):
    from pypdf import PdfReader

    assert main(["report", str(run), "-o", str(tmp_path / "x.pdf")]) == 0
    pages = [page.extract_text() for page in PdfReader(tmp_path / "x.pdf").pages]
    assert len(pages) == len(NAMES)
    assert "Accuracy on minimal pairs" in pages[0]
    assert "npi licensing" in pages[1]
    assert "npi licensing" not in pages[2]
    assert "Training tokens" in pages[2]
    assert main(["report", str(run), "-o", str(tmp_path / "one.pdf"), "--figure", "phenomena"]) == 0
    (page,) = PdfReader(tmp_path / "one.pdf").pages
    assert "npi licensing" in page.extract_text()


@pytest.mark.medium
def test_a_figure_is_chosen_by_name(run, tmp_path, capsys):
    assert main(["report", str(run), "-o", str(tmp_path / "x.svg"), "--figure", "phenomena"]) == 0
    assert "subject verb agreement" in words_of((tmp_path / "x.svg").read_text())
    capsys.readouterr()
    assert main(["report", str(run), "-o", str(tmp_path / "y.svg"), "--figure", "weights"]) == 2
    said = f"--figure weights: of these runs there are {', '.join(NAMES)}\n"
    assert capsys.readouterr().err.endswith(said)
    assert not (tmp_path / "y.svg").exists()


@pytest.mark.medium
def test_all_figures_go_into_a_folder(run, tmp_path, capsys):
    folder = tmp_path / "deep" / "figures"
    assert main(["report", str(run), "--figures", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{end}" for name in NAMES for end in ("png", "svg", "pdf")
    }
    assert len(capsys.readouterr().out.splitlines()) == 3 * len(NAMES)
    assert all((folder / f"{name}.pdf").read_bytes().startswith(b"%PDF-") for name in NAMES)


@pytest.mark.parametrize("name", ["x.jpg", "x.docx", "x"])
def test_an_ending_that_cannot_be_written_is_refused_in_one_line(run, tmp_path, name, capsys):
    assert main(["report", str(run), "-o", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / name}: the ending says what is written")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together_are_refused(run, tmp_path, capsys):
    assert main(["report", str(run), "--figure", "main"]) == 2
    assert main(["report", str(run), "-o", str(tmp_path / "x.html"), "--figure", "main"]) == 2
    (tmp_path / "file").write_text("x")
    assert main(["report", str(run), "--figures", str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.medium
def test_without_a_name_it_says_where_the_page_is(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "report.html"), str(tmp_path / "report.png")]
    assert (tmp_path / "report.html").is_file()


@pytest.mark.medium
def test_long_names_are_broken_into_lines_and_not_cut(tmp_path):
    long = "a_name_that_is_much_longer_than_what_fits_over_a_panel_or_into_a_legend_of_the_page"
    for seed, name in enumerate((long, f"{long}_too")):
        write_fake_run(tmp_path / "outputs", name, seed, num_pairs=5, anchors=(0, 25))
    for name in ("main", "paradigms"):
        assert main(["report", str(tmp_path / "outputs"), "-o", str(tmp_path / "x.svg"), "--figure", name]) == 0
        svg = (tmp_path / "x.svg").read_text()
        assert "…" not in svg
        assert long in words_of(svg)


PROBE = """
<script>
  const made = URL.createObjectURL;
  URL.createObjectURL = (blob) => {
    blob.text().then((text) => { document.body.dataset.saved = text; });
    return made(blob);
  };
  HTMLAnchorElement.prototype.click = () => {};
  setTimeout(() => document.querySelector('[data-save="main"][data-type="svg"]').click(), 3000);
</script>
</body>"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_what_is_saved_from_a_dark_page_on_a_phone_is_light_and_wide(run, tmp_path):
    page = write_report(read_runs([run]), tmp_path / "report.html")
    before, _, after = page.read_text().rpartition("</body>")
    page.write_text(before.replace("</style>", "main { width: 330px }</style>", 1) + PROBE + after)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=15000"]
    flags += [
        "--window-size=500,900",
        "--blink-settings=preferredColorScheme=0",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    browser = subprocess.run(
        ["chromium", *flags, "--dump-dom", page.resolve().as_uri()], capture_output=True, text=True, timeout=120
    )
    saved = re.search(r'data-saved="([^"]*)"', browser.stdout)
    assert saved, browser.stderr[-500:]
    svg = saved[1].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    width, background = re.search(r'<svg[^>]* viewBox="0 0 (\d+) \d+"[^>]*><rect[^>]* fill="([^"]*)"', svg).groups()
    assert background == "#ffffff"
    assert 900 < int(width) < 1200
    assert "#1a1d21" in svg, "the ink of the light theme"
    assert "#e8eaed" not in svg
    shown = re.search(r'<figure data-figure="main">(.*?)</figure>', browser.stdout.replace(saved[0], ""), re.DOTALL)[1]
    assert "#e8eaed" in shown, "the page itself is dark"
    # On the page the subtitle is broken into the lines that its width takes, in the file it is broken anew.
    lines = re.findall(r">([^<>]+)</t(?:ext|span)>", shown)
    assert "over pairs" in lines
    assert "lmeff_blimp; band: 95% interval over pairs" not in lines
    assert "lmeff_blimp; band: 95% interval over pairs" in words_of(svg)


SEEN = """<script>
  setTimeout(() => {
    const painted = (node) => ["fill", "stroke"].map((paint) => getComputedStyle(node)[paint]);
    const title = (node) => ({ text: node.textContent, right: node.getBoundingClientRect().right });
    document.body.dataset.seen = JSON.stringify({
      page: [getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.body).color],
      drawn: [...document.querySelectorAll("figure svg [fill]")].map((node) => node.getAttribute("fill")),
      painted: [...document.querySelectorAll("figure svg *")].flatMap(painted),
      picked: [...document.querySelectorAll(".cells [aria-pressed=true]")].map((node) => getComputedStyle(node).color),
      right: document.querySelector("figure").getBoundingClientRect().right,
      titles: [...document.querySelectorAll("figure .role-title text")].map(title),
    });
  }, 4000);
</script>
</body>"""


def seen(page: Path, folder: Path, scheme: str) -> dict:
    """What a browser whose reader prefers a light or a dark page makes of it."""
    before, _, after = page.read_text().rpartition("</body>")
    page.write_text(before + SEEN + after)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=15000"]
    flags += ["--window-size=500,900", f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}"]
    command = ["chromium", *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.resolve().as_uri()]
    browser = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', browser.stdout)[1]))


def rgb(color: str) -> str:
    return f"rgb({', '.join(str(int(color[place : place + 2], 16)) for place in (1, 3, 5))})"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_a_dark_page_is_light_on_paper(run, tmp_path):
    """Browsers lay a page out for paper at once, before a script could draw its figures anew."""
    page = write_report(read_runs([run]), tmp_path / "report.html")
    assert page.read_text().count("@media print") == 1
    on_paper = page.read_text().replace("@media screen", "@media not all").replace("@media print", "@media all")
    page.write_text(on_paper)
    found = seen(page, tmp_path, "dark")
    assert {DARK["title"]["color"], DARK_COLORS[0]} <= set(found["drawn"]), "drawn for a dark page"
    inks = [theme["title"][name] for theme in (DARK, LIGHT) for name in ("color", "subtitleColor")]
    dark, light = inks[:2], inks[2:]
    assert found["page"] == ["rgb(255, 255, 255)", rgb(light[0])]
    assert not {rgb(color) for color in [*dark, DARK["axis"]["gridColor"], *DARK_COLORS]} & set(found["painted"])
    assert {rgb(color) for color in light} <= set(found["painted"])
    assert set(found["picked"]) == {rgb(light[0])}, "white without the color behind it otherwise"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_on_a_phone_titles_and_what_is_below_them_end_where_the_page_does(tmp_path):
    for name in ("one", "other"):
        write_fake_run(tmp_path / "outputs", name, num_pairs=100)
    page = write_report(read_runs([tmp_path / "outputs"]), tmp_path / "report.html")
    page.write_text(page.read_text().replace("</style>", "main { width: 360px }</style>", 1))
    found = seen(page, tmp_path, "light")
    texts = [title["text"] for title in found["titles"]]
    assert any(text.startswith("How much likelier the") for text in texts)
    assert any(text.startswith("line: nothing cheaper") for text in texts)
    assert [title for title in found["titles"] if title["right"] > found["right"]] == []
