"""The report page and its figure: self-contained, safe, complete, and a page for every state a run can be in."""

import json
import os
import re
import shutil
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lmeff.analysis import read_runs, write_png, write_report
from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.panels import task_panels
from lmeff.analysis.charts.series import curve_points, make_series, training_loss
from lmeff.analysis.charts.themes import DARK_CELLS, LIGHT_CELLS, NUM_CELL_COLORS
from lmeff.analysis.reading.tasks import paradigms_of, phenomena_of, task_titles
from lmeff.analysis.report.views import RunView, paradigm_table
from lmeff.analysis.statistics.acquisition import acquisition_order
from lmeff.analysis.statistics.curve import curves_of
from lmeff.analysis.text import print_curves
from lmeff.errors import InputError


class Page(HTMLParser):
    """What a reader without JavaScript gets: text, and everything a browser would load or link to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action") and value
        ]

    def handle_data(self, data):
        if self.lasttag not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict:
        found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', self.source, re.S)
        return json.loads(found[1])["figures"] if found else {}


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


@pytest.fixture(scope="module")
def report(finished_run, tmp_path_factory) -> Path:
    return write_report(read_runs([finished_run]), tmp_path_factory.mktemp("report") / "report.html")


@pytest.mark.medium
def test_the_page_loads_nothing(report):
    page = Page(report)
    assert [address for address in page.addresses if not address.startswith("data:image/png;base64,")] == []
    assert "link" not in page.tags
    assert "iframe" not in page.tags
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page.source)
    assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", page.source)
    assert "default-src 'none'" in page.source


@pytest.mark.medium
def test_the_page_says_what_happened_and_holds_every_anchor(report, finished_run):
    page = Page(report)
    run = read_runs([finished_run])[0]
    for anchor in run.anchors:
        assert anchor.revision in page.text
        assert f"{anchor.document.dev_loss:.3f}" in page.text
    assert "Complete" in page.text
    assert "A model of 233M parameters, trained on 2B tokens of hybrid_3.7B (0.54 passes over the text)" in page.text
    assert "3 h 23 min of training on NVIDIA H200" in page.text
    assert str(RunView(run, "x").changes[0]) in page.text
    assert "lmeff train recipe.yaml" in page.text
    assert "lmeff report outputs/180m_hybrid/seed-0 -o report.html" in page.text
    assert "learning_rate: 3e-4" in page.text
    spread = {"grouped_phenomena", "paradigm_boxes", "losses"}
    assert set(page.figures) == {"main", "phenomena", "paradigms", "training"} | spread
    assert page.text.count("determiner noun agreement irregular 1") == 1
    assert str(finished_run) not in page.source


@pytest.mark.medium
def test_the_figure_is_beside_the_page(report):
    width, height = png_size(report.with_suffix(".png"))
    assert 1500 < width < 3000
    assert 600 < height < 1500


@pytest.mark.medium
def test_what_people_wrote_is_text_and_never_markup(fake_run, tmp_path):
    folder = fake_run(num_pairs=2, state="failed", error="<script>alert(1)</script>", anchors=(0, 25, 50))
    recipe = folder / "recipe.yaml"
    nasty = recipe.read_text().replace("180m_hybrid", '"</script><b>x"')
    recipe.write_text(nasty + "# <img src=http://example.org/x>\n")
    page = Page(write_report(read_runs([folder]), tmp_path / "r.html", title="<i>mine</i>"))
    assert "<i>mine</i>" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert page.tags.count("script") == 3
    assert {"b", "i"}.isdisjoint(page.tags)
    assert not any("example.org" in address for address in page.addresses)
    assert "main" in page.figures


@pytest.mark.medium
def test_several_runs_share_a_page_and_seeds_share_a_line(fake_run, tmp_path):
    paths = [
        fake_run(seed=0, num_pairs=10),
        fake_run(seed=1, num_pairs=10),
        fake_run(name="60m", num_pairs=10, quality=-0.5),
        fake_run(name="stopped", num_pairs=10, anchors=(0, 25), planned=100, state="failed", error="out of memory"),
    ]
    page = Page(write_report(read_runs(paths), tmp_path / "r.html"))
    assert "4 runs compared" in page.text
    assert "1 failed or empty: stopped" in page.text
    for words in ("Failed at 25%", "180m_hybrid, seed 0", "180m_hybrid, seed 1", "60m", "stopped", "out of memory"):
        assert words in page.text
    labels = {row["series"] for rows in page.figures["main"]["datasets"].values() for row in rows if "series" in row}
    assert labels == {"180m_hybrid", "60m", "stopped"}
    assert "lmeff_blimp; band: 95% t interval over 2 seeds or 95% interval over pairs" in page.source


@pytest.mark.medium
@pytest.mark.parametrize(
    ("case", "state"),
    [
        ("nothing", "Running at 0%"),
        ("only a recipe", "State unknown"),
        ("anchor 0", "Running at 0%"),
        ("no results", "Running at 25%"),
        ("no dev loss", "Running at 25%"),
        ("no log", "Running at 25%"),
    ],
)
def test_a_young_run_has_a_page_too(fake_run, tmp_path, case, state):
    anchors = (0, 25, 50) if case.startswith("no ") else (0,)
    scored = case == "no dev loss"
    folder = fake_run(num_pairs=4, anchors=anchors, planned=200, scored=scored, state="running", final=False)
    if case in ("nothing", "only a recipe"):
        shutil.rmtree(folder / "revisions")
    if case == "only a recipe":
        for name in ("plan.json", "state.json"):
            (folder / name).unlink()
        (folder / "revisions").mkdir()
    if case == "no dev loss":
        for path in folder.glob("revisions/*/anchor.json"):
            lost = dict.fromkeys(("dev_loss", "dev_perplexity", "dev_bits_per_byte", "loss"))
            path.write_text(json.dumps(json.loads(path.read_text()) | lost))
    if case == "no log":
        (folder / "run.log.jsonl").unlink()
    output = write_report(read_runs([folder]), tmp_path / "report.html")
    page = Page(output)
    measured = case not in ("nothing", "only a recipe")
    assert ("main" in page.figures) == output.with_suffix(".png").exists() == measured
    assert ("Nothing was measured yet" in page.text) == (not measured)
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()
    assert state in page.text


def test_a_log_alone_makes_a_figure(fake_run, tmp_path):
    folder = fake_run(num_pairs=2, anchors=(0, 25), scored=False)
    shutil.rmtree(folder / "revisions")
    width, _ = png_size(write_png(read_runs([folder]), tmp_path / "deep" / "figure.png"))
    assert width > 800


def test_outputs_that_make_no_sense_are_refused(finished_run, fake_run, tmp_path):
    runs = read_runs([finished_run])
    with pytest.raises(InputError, match="name the page"):
        write_report(runs, tmp_path / "x.png")
    with pytest.raises(InputError, match="no run"):
        write_report([], tmp_path / "x.html")
    empty = fake_run(anchors=(0,), scored=False)
    shutil.rmtree(empty / "revisions")
    (empty / "run.log.jsonl").unlink()
    with pytest.raises(InputError, match="nothing to draw"):
        write_png(read_runs([empty]), tmp_path / "x.png")


def test_the_token_axis_has_a_place_for_zero(finished_run):
    series = make_series(read_runs([finished_run]))
    meta = main_figure(series)["usermeta"]["token_axis"]
    assert meta["log"]
    assert meta["ticks"][0] == 0
    assert meta["ticks"][-1] == 2_000_000_000
    text = json.dumps(main_figure(series))
    assert '"type": "symlog"' in text
    assert '"type": "log"' not in text


def test_close_anchors_get_a_linear_axis(fake_run):
    series = make_series(read_runs([fake_run(num_pairs=2, anchors=(0, 1, 2, 3, 4))]))
    assert main_figure(series)["usermeta"]["token_axis"]["log"] is False
    assert "symlog" not in json.dumps(main_figure(series))


def test_the_band_of_one_run_is_its_95_percent_interval(finished_run):
    series = make_series(read_runs([finished_run]))[0]
    row = curve_points(series, ["lmeff_blimp"], "acc", scale=100).iloc[4]
    score = series.runs[0].anchors[4].results.tasks["lmeff_blimp"].metrics["acc"]
    assert row["value"] == pytest.approx(100 * score.value)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * 100 * score.stderr, rel=1e-3)


@pytest.mark.medium
def test_the_band_of_seeds_is_their_t_interval_where_all_have_an_anchor(fake_run):
    paths = [fake_run(seed=seed, num_pairs=10) for seed in (0, 1, 2)]
    shutil.rmtree(paths[2] / "revisions" / "seed-2")
    shutil.rmtree(paths[2] / "revisions" / "seed-2-tokens-2000M")
    (series,) = make_series(read_runs(paths))
    points = curve_points(series, ["lmeff_blimp"], "acc")
    means, seeds = points[points["seed"].isna()], points[points["seed"].notna()]
    assert len(means) == 8
    assert len(seeds) == 9 + 9 + 8
    values = seeds[seeds["anchor"] == 500_000_000]["value"]
    row = means[means["anchor"] == 500_000_000].iloc[0]
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (row["low"], row["value"], row["high"]) == pytest.approx((low, values.mean(), high))
    assert row["spread"] == "95% t interval over 3 seeds"


def test_seeds_join_only_when_everything_else_is_the_same(fake_run, tmp_path):
    paths = [
        fake_run(seed=0, num_pairs=2),
        fake_run(seed=1, num_pairs=2, learning_rate="1e-3"),
        fake_run(name="other", seed=0, num_pairs=2),
    ]
    copied = tmp_path / "copies" / "other" / "seed-0"
    shutil.copytree(paths[2], copied)
    series = make_series(read_runs([*paths, copied]))
    assert [len(each.runs) for each in series] == [1, 1, 1, 1]
    assert [each.label for each in series] == [
        "180m_hybrid, seed 0",
        "180m_hybrid, seed 1",
        "outputs/other, seed 0",
        "copies/other, seed 0",
    ]


def test_a_long_log_is_thinned_by_averaging(finished_run):
    series = make_series(read_runs([finished_run]))[0]
    thinned, log = training_loss(series), series.runs[0].log
    assert len(log) == 1525
    assert 200 < len(thinned) <= 401
    assert thinned["tokens"].is_monotonic_increasing
    assert thinned["tokens"].iloc[0] == log[0].tokens
    assert thinned["value"].between(min(r.loss for r in log), max(r.loss for r in log)).all()


def low_end(score) -> float:
    """Of Wilson's 95% interval over 200 pairs: the share from which this one is 1.96 standard errors away."""
    num = score.value * (1 - score.value) / score.stderr**2 * 200 / 199 if score.stderr else 200
    return np.roots([1 + 1.96**2 / num, -2 * score.value - 1.96**2 / num, score.value**2]).min()


def test_paradigms_stand_in_the_order_in_which_they_are_learned(finished_run):
    series = make_series(read_runs([finished_run]))[0]
    order = acquisition_order(curves_of(series.table, "acc", paradigms_of(series.runs)))
    tokens = [float("inf") if first is None else first for _, first in order]
    assert tokens == sorted(tokens)
    assert len(order) == 67
    assert None in dict(order).values()
    results = [anchor.results.tasks for anchor in series.runs[0].anchors]
    for task, first in order:
        lows = [low_end(r[task].metrics["acc"]) for r in results]
        anchors = [anchor.document.nominal_tokens for anchor in series.runs[0].anchors]
        held = [all(low >= 0.75 for low in lows[index:]) for index in range(len(lows))]
        assert first in (None, *anchors[1:])
        assert first == next((a for a, yes in zip(anchors, held, strict=True) if a and yes), None)
    never = [results[-1][task].metrics["acc"].value for task, first in order if first is None]
    assert never == sorted(never, reverse=True)

    table = paradigm_table(series, task_titles(series.runs, paradigms_of(series.runs)))
    assert table.columns == ["0", "25M", "50M", "100M", "250M", "500M", "1B", "1.5B", "2B"]
    for row, (task, first) in zip(table.rows, order, strict=True):
        assert row.task == task
        assert [cell[2] for cell in row.cells].count(True) == (first is not None)
        assert all(int(cell[0]) >= 75 for cell in row.cells if cell[2])


def test_titles_are_plain_words_and_never_two_alike(finished_run):
    runs = read_runs([finished_run])
    assert task_titles(runs, phenomena_of(runs))["lmeff_blimp_npi_licensing"] == "npi licensing"
    alike = task_titles(runs, ["lmeff_blimp_a_b", "lmeff_blimp_a b", "c"])
    assert alike == {"lmeff_blimp_a_b": "lmeff_blimp_a_b", "lmeff_blimp_a b": "lmeff_blimp_a b", "c": "c"}


@pytest.mark.medium
def test_more_runs_than_colours_can_still_be_drawn(fake_run, tmp_path):
    paths = [fake_run(name=f"run{i}", num_pairs=2, anchors=(0, 25)) for i in range(10)]
    series = make_series(read_runs(paths))
    assert '"scheme": "viridis"' in json.dumps(main_figure(series))
    assert task_panels(series, {"lmeff_blimp_binding": "binding"}) is not None
    png_size(write_png(read_runs(paths), tmp_path / "many.png"))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT_CELLS, DARK_CELLS], ids=["light", "dark"])
def test_every_cell_can_be_read_on_its_colour(colours):
    for level in range(NUM_CELL_COLORS):
        low, high = sorted([luminance(colours.background(level)), luminance(colours.ink)])
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_a_browser_draws_all_figures_without_an_error(report, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=10000"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}", "--dump-dom", report.resolve().as_uri()]
    browser = subprocess.run(["chromium", *flags], capture_output=True, text=True, timeout=60)
    page = browser.stdout
    assert page.count('<svg xmlns="http://www.w3.org/2000/svg"') == len(Page(report).figures)
    assert page.count("role-legend") == 0 or "series" in page
    assert "CONSOLE" not in browser.stderr


@pytest.mark.medium
def test_other_tasks_than_minimal_pairs_are_not_compared_with_their_chance(fake_run, tmp_path):
    """Five options for each question, and a rank correlation."""
    run = fake_run(num_pairs=4, anchors=(0, 25))
    for folder in run.glob("results/*"):
        found = {"acc,none": 0.35, "acc_stderr,none": 0.01}
        results = {name: {"alias": name, **found} for name in ("tracking", "tracking_easy", "tracking_hard")}
        counts = {name: {"original": 100, "effective": 100} for name in results if name != "tracking"}
        below = {"tracking": ["tracking_easy", "tracking_hard"]}
        whole = json.loads((folder / "lmeff_blimp.json").read_text())
        document = {"results": results, "groups": {"tracking": results["tracking"]}, "group_subtasks": below}
        (folder / "tracking.json").write_text(json.dumps({**whole, **document, "n-samples": counts}))
        forms = {"results": {"wug": {"alias": "wug", "spearman,none": 0.123}}, "n-samples": {"wug": {"effective": 9}}}
        forms = {**whole, "groups": {}, "group_subtasks": {}, **forms}
        (folder / "wug.json").write_text(json.dumps(forms))
    runs = read_runs([run])
    page = Page(write_report(runs, tmp_path / "page.html"))
    rows = re.findall(r'<tr><th scope="row" class="text">(.*?)</tr>', page.source, re.DOTALL)
    ours = [row for row in rows if row.startswith(("easy", "hard"))]
    assert len(ours) == 2
    assert all("<td>35</td>" in row and "button" not in row for row in ours)
    assert all("button" in row and 'class="a' in row for row in rows if row not in ours)
    assert "12.3" in page.text
    table = print_curves(runs)
    assert "12.3" in table
    assert "wug: rank correlation with people's choices x 100" in table
