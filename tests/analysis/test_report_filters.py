"""Filters of the page: what there is to choose, and in a browser what changes when it is chosen."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from analysis.fake_runs import say_which_tokens, write_documents

from lmeff.analysis.charts.study import Study
from lmeff.analysis.report.filters import in_order
from lmeff.analysis.report.report import write_report
from lmeff.analysis.report.sections import PageContent
from lmeff.analysis.scores.paths import read_scored
from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokenizer, prepare_tokens

HEADER = "dataset,model_size,milestone,vocab_size,seed,acc"


def table(folder: Path, corpora=("tales", "web"), seeds=(0, 1)) -> Path:
    """In the header of the published table, at 25M, 50M and 100M tokens."""
    path = folder / "scores.csv"
    rows = [
        f"{corpus},{size},{millions},8000,{seed},{0.5 + 0.1 * (corpus == 'web') + millions / 1000 + seed / 100}"
        for corpus in corpora
        for size in ("180m", "20m")
        for seed in seeds
        for millions in (25, 50, 100)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def content_of(*paths: Path) -> PageContent:
    return PageContent(Study(*read_scored(paths)), {}, None)


def test_names_are_ordered_by_what_they_count():
    assert in_order(["180m", "20m", "60m", "20m"]) == ["20m", "60m", "180m"]
    assert in_order(["web", "tales"]) == ["web", "tales"]


@pytest.mark.medium
def test_there_is_a_filter_where_there_is_a_choice(tmp_path, fake_run):
    filters = content_of(table(tmp_path)).filters
    assert {facet.name: facet.values for facet in filters.facets} == {
        "corpus": ["tales", "web"],
        "size": ["20m", "180m"],
        "seed": ["0", "1"],
    }
    first = {"series": "tales 180m 8000", "corpus": "tales", "size": "180m", "vocabulary": "8000", "seed": "0"}
    assert filters.data["runs"][0] == first
    alone = content_of(fake_run(num_pairs=2, anchors=(0, 25)))
    assert [facet.name for facet in alone.filters.facets] == ["phenomenon"]
    about = alone.filters.data["tasks"]
    assert about["lmeff_blimp"] == {"suite": "lmeff_blimp", "phenomenon": None}
    assert about["lmeff_blimp_causative"] == {"suite": "lmeff_blimp", "phenomenon": "argument structure"}
    assert about["lmeff_blimp_binding"] == {"suite": "lmeff_blimp", "phenomenon": "binding"}


@pytest.mark.medium
def test_groups_of_tasks_are_those_of_all_runs(fake_run):
    """A run that was scored on fewer phenomena, and comes last, takes none of the others away."""
    runs = [fake_run(name=name, num_pairs=2, anchors=(0, 25)) for name in ("all", "few")]
    for path in runs[1].glob("results/*/lmeff_blimp.json"):
        document = json.loads(path.read_text())
        groups = document["group_subtasks"]
        del groups["lmeff_blimp_ellipsis"]
        groups["lmeff_blimp"].remove("lmeff_blimp_ellipsis")
        document["results"] = {name: one for name, one in document["results"].items() if "ellipsis" not in name}
        path.write_text(json.dumps(document))
    about = content_of(*runs).filters.data["tasks"]
    assert about["lmeff_blimp_ellipsis_n_bar_1"] == {"suite": "lmeff_blimp", "phenomenon": "ellipsis"}
    assert len(about) == 1 + 12 + 67


class ButtonsAndLists(HTMLParser):
    """The values of a page's buttons of filters, and the words of these and of its lists."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: list[str] = []
        self.words: list[str] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self._open = "button" if "data-facet" in known else tag
        if "data-facet" in known:
            self.values.append(known["data-value"] or "")

    def handle_data(self, data: str) -> None:
        if self._open in ("button", "li") and data.strip():
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.mark.medium
def test_names_are_written_as_they_are_and_the_page_says_how_they_were_read(tmp_path):
    """Names that are no HTML; and seeds with names, of two recipes, from which nothing is predicted."""
    corpora = ['the "web"', "tales</script><b>'&amp;"]
    path = tmp_path / "named.csv"
    with path.open("w", newline="") as file:
        rows = [[corpus, "<s>&", 25, 8000, seed, 0.5] for corpus in corpora for seed in ("first", "second")]
        csv.writer(file).writerows([HEADER.split(","), *rows])
    study = Study(*read_scored([path]))
    assert study.prediction is None
    found = ButtonsAndLists(write_report(study, tmp_path / "page.html").read_text())
    assert found.values == [*corpora, "0", "1"]
    assert found.words[:4] == found.values
    assert "named.csv: seeds are shown as numbers: first as 0, second as 1" in found.words


@pytest.mark.medium
def test_a_page_without_a_choice_has_no_controls(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text(f"{HEADER}\ntales,20m,25,8000,0,0.5\ntales,20m,50,8000,0,0.6\n")
    page = write_report(Study(*read_scored([path])), tmp_path / "page.html").read_text()
    assert "data-facet=" not in page
    assert 'class="filters' not in page


LOOK = """
<script>
  // Each step chooses something and, when figures are drawn anew, keeps what there is to see.
  const steps = STEPS, seen = [];
  const settled = () => new Promise((resolve) => setTimeout(resolve, 4000));
  const lines = (text) => [...text.childNodes].map((line) => line.textContent).join(" ");
  const texts = (selector) => [...document.querySelectorAll(selector)].map(lines);
  function look() {
    const figures = {};
    for (const figure of document.querySelectorAll("figure")) {
      const name = `[data-figure=${figure.dataset.figure}]`;
      const labels = [...figure.querySelectorAll("[aria-label]")].map((each) => each.getAttribute("aria-label"));
      figures[figure.dataset.figure] = {
        drawn: Boolean(figure.querySelector("svg")),
        words: figure.querySelector("svg") ? "" : figure.textContent,
        legend: texts(`${name} .role-legend-label text`),
        panels: texts([".role-title-text text", ".role-header text"].map((each) => `${name} ${each}`).join()),
        marks: labels.filter((label) => label.includes("series: ")),
        others: labels.filter((label) => !label.includes("series: ")),
      };
    }
    document.querySelectorAll("[data-copy=csv]")[0].click();
    seen.push({
      figures,
      state: document.querySelector("[data-filter-state]").textContent,
      pressed: texts("[data-facet][aria-pressed=true]"),
      canShowAll: !document.querySelector("[data-show-all]").hidden,
      runs: [...document.querySelectorAll(".runs tr[data-run]")].filter((each) => each.offsetParent).length,
      paradigms: document.querySelectorAll("table.cells tbody tr:not(.filtered-out)").length,
      about: [...document.querySelectorAll("[data-about-task]:not(.filtered-out)")].map((each) => each.dataset.aboutTask),
      copied: document.querySelectorAll("[data-copy=csv]")[0].dataset.copied,
      hash: location.hash,
    });
  }
  (async () => {
    await settled();
    look();
    for (const selector of steps) {
      document.querySelector(selector).click();
      await settled();
      look();
    }
    document.body.dataset.seen = JSON.stringify(seen);
  })();
</script>
</body>"""


def button(facet: str, value: str) -> str:
    return f'[data-facet="{facet}"][data-value="{value}"]'


def seen_after(page: Path, folder: Path, *steps: str, address: str = "") -> list[dict]:
    """What a browser shows before and after each click."""
    before, _, after = page.read_text().rpartition("</body>")
    page.write_text(before + LOOK.replace("STEPS", json.dumps(steps)) + after)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=60000"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    command = ["chromium", *flags, page.resolve().as_uri() + address]
    browser = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert [line for line in browser.stderr.splitlines() if "CONSOLE" in line and "WARN" not in line] == []
    return json.loads(html.unescape(re.search(r'<body [^>]*data-seen="([^"]*)"', browser.stdout)[1]))


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_in_a_browser_filters_change_figures_and_tables(tmp_path, fake_run):
    """A table of two corpora, sizes and seeds beside a run of ours with phenomena, pairs, a log and its text."""
    run = fake_run(num_pairs=3, anchors=(0, 25, 100))
    write_documents(tmp_path / "a.jsonl")
    corpus = prepare_text(Corpus(name="small", paths=[str(tmp_path / "a.jsonl")], dev_share=0.05), tmp_path / "data")
    say_which_tokens(run, tmp_path / "data", prepare_tokens(corpus, prepare_tokenizer(corpus, 300)).fingerprint)
    page = write_report(Study(*read_scored([run, table(tmp_path)])), tmp_path / "page.html")
    web, seed, blimp, binding, hybrid = (
        button(*one)
        for one in [
            ("corpus", "web"),
            ("seed", "1"),
            ("task", "lmeff_blimp"),
            ("phenomenon", "binding"),
            ("corpus", "hybrid_3.7B"),
        ]
    )
    paradigm = '[data-task="lmeff_blimp_principle_A_case_1"]'
    whole, of_web, of_seed, again, of_task, of_binding, of_hybrid, of_picked = seen_after(
        page, tmp_path, web, seed, "[data-show-all]", blimp, binding, hybrid, paradigm
    )
    assert whole["state"] == "all is shown"
    assert (whole["runs"], whole["pressed"], whole["canShowAll"], whole["paradigms"]) == (9, [], False, 67)
    assert whole["figures"]["main"]["legend"] == ["180m_hybrid", *(f"{c} {s}" for c in ("tales", "web") for s in SIZES)]
    marks = whole["figures"]["main"]["marks"]
    assert any("series: tales 20m 8000" in mark for mark in marks)

    assert of_web["state"] == "corpus web (4 of 9 runs)"
    assert (of_web["runs"], of_web["pressed"], of_web["canShowAll"]) == (4, ["web"], True)
    main = of_web["figures"]["main"]
    assert main["legend"] == ["web 180m 8000", "web 20m 8000"]
    assert main["marks"]
    assert all("series: web " in mark for mark in main["marks"])
    assert set(main["marks"]) <= set(marks), "what stays is drawn as before"
    assert len(of_web["copied"].splitlines()) == 1 + 4
    assert not of_web["figures"]["phenomena"]["drawn"], "nothing of the table has phenomena"
    assert "Computed over all runs" in of_web["figures"]["agreement"]["words"]

    assert of_seed["state"] == "corpus web; seed 1 (2 of 9 runs)"
    lines = of_seed["figures"]["main"]["marks"]
    assert lines, "the lines of single seeds stay"
    assert all(mark.endswith("; seed: 1") for mark in lines), "means and their bands do not"
    assert of_seed["hash"] == "#corpus=web&seed=1"

    assert (again["state"], again["runs"]) == ("all is shown", 9)
    assert sorted(again["figures"]["main"]["marks"]) == sorted(marks)

    titles = of_task["figures"]["main"]["panels"]
    assert "Accuracy on minimal pairs" in titles
    assert "Accuracy" not in titles, "the panel of the other task is gone"
    assert "blimp" in whole["copied"].splitlines()[0].replace("lmeff_blimp", "")
    assert "blimp" not in of_task["copied"].splitlines()[0].replace("lmeff_blimp", "")

    assert set(whole["about"]) == {"blimp", "lmeff_blimp"}
    assert set(of_task["about"]) == {"lmeff_blimp"}, "words about changes in the other task are gone"

    assert of_binding["figures"]["phenomena"]["panels"].count("binding") == 1
    assert "ellipsis" in whole["figures"]["phenomena"]["panels"]
    assert "ellipsis" not in of_binding["figures"]["phenomena"]["panels"]
    assert of_binding["paradigms"] == 7

    assert whole["figures"]["losses"]["panels"] == [STEPS, *SENTENCES]
    assert of_web["figures"]["losses"]["words"], "the table has no losses"
    assert of_task["figures"]["losses"]["panels"] == [STEPS], "those of sentences are of all tasks"
    assert whole["figures"]["lengths"]["drawn"]
    assert of_web["figures"]["lengths"]["words"], "the text is that of another corpus"
    assert of_hybrid["figures"]["lengths"]["panels"] == ["Length of documents", "Bytes a token"]
    assert whole["figures"]["paradigms"]["drawn"]
    assert "None of the paradigms picked" in of_hybrid["figures"]["paradigms"]["words"]
    assert of_picked["figures"]["paradigms"]["panels"] == ["principle A case 1"]


SIZES = ("180m 8000", "20m 8000")
STEPS = "Training loss of steps"
SENTENCES = ["Loss of acceptable sentences", "How much likelier the acceptable sentence is"]


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or os.environ.get("CI")), reason="needs chromium")
def test_in_a_browser_a_page_loaded_again_keeps_its_filters(tmp_path):
    """And of some runs the front is their own, and there are no means over seeds without one of these."""
    page = write_report(Study(*read_scored([table(tmp_path)])), tmp_path / "page.html")
    address = "#corpus=tales&corpus=gone"
    tales, of_seed, whole = seen_after(page, tmp_path, button("seed", "0"), "[data-show-all]", address=address)
    assert tales["state"] == "corpus tales (4 of 8 runs)"
    figure = tales["figures"]["trade_offs"]
    assert figure["marks"]
    assert all("series: tales" in mark for mark in figure["marks"])
    assert "Training tokens: 25M; blimp, %: 53" in figure["others"], "the front begins at the cheapest"
    assert "Training tokens: 25M; blimp, %: 63" in whole["figures"]["trade_offs"]["others"]
    assert "Training tokens: 25M; blimp, %: 63" not in figure["others"]
    assert tales["figures"]["grid"]["drawn"]
    assert "a mean over seeds of which some are filtered out" in of_seed["figures"]["grid"]["words"]
    assert not whole["figures"]["grid"]["words"]
