"""A plain table of scores is shown as runs are."""

import base64
import csv
import gzip
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import lmeff
from lmeff.analysis.charts.figures import page_figures
from lmeff.analysis.charts.study import Study
from lmeff.analysis.report import report
from lmeff.analysis.scores.paths import read_scored
from lmeff.cli import main
from lmeff.errors import InputError

pytestmark = pytest.mark.medium
HEADER = ("dataset", "model_size", "milestone", "vocab_size", "seed", "acc")


def score(corpus: str, size: str, millions: int, seed: int) -> float:
    return round(0.5 + 0.01 * (corpus == "web") + 0.02 * (size == "60m") + millions / 2000 + 0.003 * seed, 4)


@pytest.fixture
def table(tmp_path) -> Path:
    """Two corpora, two sizes, two seeds, four anchors, in the header of the published table."""
    path = tmp_path / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for corpus in ("tales", "web"):
            for size in ("20m", "60m"):
                for seed in (0, 1):
                    for millions in (25, 50, 100, 200):
                        writer.writerow((corpus, size, millions, 8000, seed, score(corpus, size, millions, seed)))
                    writer.writerow((corpus, size, "final", 8000, seed, 0.7))
    return path


def test_its_rows_become_runs(table):
    runs, observations, notes = read_scored([table])
    assert [(run.name, run.seed) for run in runs][:3] == [
        ("tales 20m 8000", 0),
        ("tales 20m 8000", 1),
        ("tales 60m 8000", 0),
    ]
    run = runs[-1]
    assert (run.corpus, run.size, run.vocab_size, run.seed, run.num_parameters) == ("web", "60m", 8000, 1, None)
    assert [anchor.document.nominal_tokens for anchor in run.anchors] == [25e6, 50e6, 100e6, 200e6]
    assert run.anchors[2].results.tasks["blimp"].metrics["acc"].value == score("web", "60m", 100, 1)
    assert len(observations) == 40
    assert "scores.csv: scores are shares of 1" in notes


def test_its_report_is_one_command(table, tmp_path, capsys):
    assert main(["report", str(table), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "page.html"), str(tmp_path / "page.png")]
    page = (tmp_path / "page.html").read_text().partition("<script")[0]
    assert "<title>8 runs compared</title>" in page
    assert page.count(">Scored</span>") == 8 + 8, "in the table, and run by run"
    first = re.search(r'<th scope="row" class="text">tales 20m 8000, seed 0</th>(.*?)</tr>', page, re.DOTALL)[1]
    assert f"<td>{100 * score('tales', '20m', 200, 0):.1f}</td>" in first
    assert "Held-out loss</th>" not in page, "nobody has one"
    assert "lmeff report scores.csv" in page


def test_other_columns_are_named(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("step,lang,right\n1,de,55\n2,de,60\n1,fr,50\n2,fr,58\n")
    words = ["report", str(path), "-o", str(tmp_path / "mine.svg")]
    assert main(words) == 2
    assert "which column has tokens?" in capsys.readouterr().err
    assert main([*words, "--columns", "tokens=step:M,corpus=lang,value=right"]) == 0
    svg = (tmp_path / "mine.svg").read_text()
    assert ">de<" in svg
    assert ">2M<" in svg


def test_tables_and_runs_stand_side_by_side(table, fake_run):
    runs, observations, _ = read_scored([fake_run(anchors=(0, 25, 100), num_pairs=3), table])
    assert [run.name for run in runs][:2] == ["180m_hybrid", "tales 20m 8000"]
    assert {one.task for one in observations} == {"lmeff_blimp", "blimp"}


def test_a_chart_of_it_is_one_call(table):
    spec = lmeff.plot(table).to_dict()
    values = [row["value"] for rows in spec["datasets"].values() for row in rows if row.get("seed") == 1]
    assert pytest.approx(100 * score("web", "60m", 200, 1)) in values


def test_a_score_that_is_there_twice_is_refused(table):
    with table.open("a") as file:
        file.write("web,60m,200,8000,1,0.9\n")
    with pytest.raises(InputError, match="1 scores are there more than once: web 60m 8000, seed 1, 200M, blimp"):
        read_scored([table])


def test_long_data_are_compressed_columns_of_the_same_values(table, monkeypatch):
    monkeypatch.setattr(report, "LONG_DATA", 0)
    study = Study(*read_scored([table]))
    page, _ = report.render_page(study, None)
    packed = re.search(r'<script type="application/gzip" id="page-data">(.*?)</script>', page)[1]
    figures = json.loads(gzip.decompress(base64.b64decode(packed)))["figures"]
    for name, spec in page_figures(study).items():
        tables = figures[name]["datasets"]
        assert any(isinstance(found, dict) for found in tables.values()), "rows of one form stand as columns"
        for key, found in tables.items():
            if isinstance(found, dict):
                rows = [dict(zip(found["names"], row, strict=True)) for row in zip(*found["columns"], strict=True)]
                tables[key] = rows
        assert list(tables.values()) == list(spec["datasets"].values())


COPY = """
<script>
  setTimeout(() => {
    for (const form of ["csv", "markdown", "latex"]) {
      const button = document.querySelector(`[data-copy="${form}"]`);
      button.click();
      document.body.dataset[form] = button.dataset.copied;
    }
    document.body.dataset.drawn = document.querySelectorAll("figure svg").length;
  }, 6000);
</script>
</body>"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_in_a_browser_long_data_are_unpacked_and_tables_are_copied(table, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "LONG_DATA", 0)
    with table.open("a") as file:
        file.write("a^b~\\c,60m,200,8000,0,0.9\n")
    study = Study(*read_scored([table]))
    page = report.write_report(study, tmp_path / "page.html")
    before, _, after = page.read_text().rpartition("</body>")
    assert '<script type="application/gzip" id="page-data">' in before
    page.write_text(before + COPY + after)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=15000"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.resolve().as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    body = html.unescape(re.search(r"<body ([^>]*)>", dom)[1])
    assert f'data-drawn="{len(page_figures(study))}"' in body
    score_text = f"{100 * score('tales', '20m', 200, 0):.1f}"
    assert f'"tales 20m 8000, seed 0",Scored,200M,{score_text}\n' in body
    assert f"| tales 20m 8000, seed 0 | Scored | 200M | {score_text} |" in body
    assert f"tales 20m 8000, seed 0 & Scored & 200M & {score_text} \\\\" in body
    assert "blimp, \\%" in body
    assert r"a\textasciicircum{}b\textasciitilde{}\textbackslash{}c 60m 8000 & Scored" in body
