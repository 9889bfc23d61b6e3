"""Every kind of figure is a specification of Vega-Lite, which is not checked when a page is written, and can be drawn."""

import json
import re
from pathlib import Path

import altair as alt
import pytest
import vl_convert
from analysis.fake_runs import say_which_tokens, write_documents, write_fake_run
from jsonschema import ValidationError

from lmeff.analysis.charts.drawing import PNG_PIXELS_PER_INCH, VEGA_LITE_VERSION, _png, _with_few_layers, render_png
from lmeff.analysis.charts.figures import FIGURES, page_figures
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.scores.paths import read_scored
from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokenizer, prepare_tokens

pytestmark = pytest.mark.medium
NAMES = ("web_1e-4", "web_1e-3", "web_1e-2")


def write_weights(run: Path) -> None:
    for place, revision in enumerate(sorted(run.glob("revisions/*tokens*"))):
        path = run / "results" / revision.name / "weights.json"
        values = {"alias": "weights", "norm,none": 1.5 + place, "effective_rank,none": 2.5 + place}
        counts = {"weights": {"original": 1, "effective": 1}}
        result = {"results": {"weights": values}, "n-samples": counts, "measures": "weights"}
        path.write_text(json.dumps(result | {"configs": {}, "versions": {}, "higher_is_better": {}}))


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict[str, dict]:
    """Those of three recipes with three seeds each, and the few others that a table alone makes."""
    folder = tmp_path_factory.mktemp("all")
    write_documents(folder / "a.jsonl")
    corpus = prepare_text(Corpus(name="small", paths=[str(folder / "a.jsonl")], dev_share=0.05), folder / "data")
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    for place, name in enumerate(NAMES):
        for seed in (0, 1, 2):
            run = write_fake_run(
                folder / "outputs",
                name,
                seed,
                anchors=(0, 25, 100),
                num_pairs=5,
                quality=0.1 * place,
                learning_rate=name.removeprefix("web_"),
                final=False,
            )
            write_weights(run)
            say_which_tokens(run, folder / "data", tokens.fingerprint)
    lines = [
        f"{text},{size},{millions},8000,{seed},{0.5 + 0.02 * (text == 'web') + millions / 2000 + 0.003 * seed:.4f}"
        for text in ("tales", "web")
        for size in ("20m", "60m")
        for seed in (0, 1)
        for millions in (25, 50, 100, 200)
    ]
    scores = folder / "scores.csv"
    scores.write_text("\n".join(["dataset,model_size,milestone,vocab_size,seed,acc", *lines]) + "\n")
    found = page_figures(Study(*read_scored([scores]))) | page_figures(Study(read_runs([folder / "outputs"])))
    assert set(found) == set(FIGURES)
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_its_specification_is_valid(figures, name):
    alt.Chart.from_dict(figures[name])


def test_one_that_is_not_would_be_found(figures):
    wrong = json.loads(json.dumps(figures["main"]).replace('"type": "line"', '"type": "lines"'))
    with pytest.raises(ValidationError):
        alt.Chart.from_dict(wrong)


@pytest.mark.parametrize("name", FIGURES)
def test_it_can_be_written_as_a_picture(figures, name):
    assert render_png(figures[name]).startswith(b"\x89PNG")


def test_lines_that_share_a_rectangle_are_clipped_together(figures):
    """Nothing else of the picture changes, and every line is still clipped, by the same rectangle."""
    svg = vl_convert.vegalite_to_svg(figures["main"], VEGA_LITE_VERSION)
    few = _with_few_layers(svg)
    clip = re.compile(r' clip-path="url\(#(\w+)\)"')
    assert len(clip.findall(svg)) == 9 + 3, "lines of training loss of nine runs, bands of three recipes"
    shapes = dict(re.findall(r'<clipPath id="(\w+)">(.*?)</clipPath>', svg))
    clipped = re.findall(r'<g class="([^"]*)" clip-path="url\(#(\w+)\)"', few)
    assert [name.rpartition("_")[2] for name, _ in clipped] == ["pathgroup"] * 2
    assert {shapes[name] for _, name in clipped} == {'<rect x="0" y="0" width="400" height="280"/>'}
    opacity = re.compile(r' (?:fill-|stroke-)?opacity="[^"]*"')
    assert opacity.sub("", clip.sub("", few)) == opacity.sub("", clip.sub("", svg))
    assert vl_convert.svg_to_png(few, ppi=PNG_PIXELS_PER_INCH).startswith(b"\x89PNG")


def test_one_picture_is_drawn_once(figures):
    first, hits = render_png(figures["main"], "once"), _png.cache_info().hits
    assert render_png(figures["main"], "once") == first
    assert _png.cache_info().hits == hits + 1
    assert render_png(figures["main"], "another title") != first


def test_learning_rates_that_fall_are_no_stairs(tmp_path):
    run = write_fake_run(tmp_path, "falling", anchors=(0, 25), num_pairs=2)
    path = run / "run.log.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rates = [3e-4 * (1 - place / (len(lines) + 1)) for place in range(len(lines))]
    changed = (json.dumps(line | {"learning_rate": rate}) for line, rate in zip(lines, rates, strict=True))
    path.write_text("\n".join(changed) + "\n")
    figure = json.dumps(page_figures(Study(read_runs([run])))["training"])
    drawn = {float(number) for number in re.findall(r'"value": ([\d.e-]+)', figure)}
    assert {float(f"{rate:.4g}") for rate in rates} <= drawn
