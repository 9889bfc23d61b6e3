"""Figures of many runs: what they show is what was measured and what lmeff predict says."""

import json
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pytest
from analysis.fake_runs import write_fake_run

from lmeff.analysis.charts.drawing import render
from lmeff.analysis.charts.figures import FIGURES, figure_of, page_figures
from lmeff.analysis.charts.studies.heat_maps import WRONG
from lmeff.analysis.charts.studies.sweep_plots import _settings, line_names
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.report.report import PAGE
from lmeff.analysis.scores.paths import read_scored
from lmeff.errors import InputError

pytestmark = pytest.mark.medium
CORPORA, SIZES, SEEDS, MILLIONS = ("tales", "web"), ("20m", "60m"), (0, 1), (25, 50, 100, 200)


def score(corpus: str, size: str, seed: int, millions: int) -> float:
    return round(0.5 + 0.02 * (corpus == "web") + 0.01 * (size == "60m") + millions / 2000 + 0.003 * seed, 4)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Study:
    path = tmp_path_factory.mktemp("table") / "scores.csv"
    lines = [
        f"{corpus},{size},{millions},8000,{seed},{score(corpus, size, seed, millions)}"
        for corpus in CORPORA
        for size in SIZES
        for seed in SEEDS
        for millions in MILLIONS
    ]
    path.write_text("\n".join(["dataset,model_size,milestone,vocab_size,seed,acc", *lines]) + "\n")
    return Study(*read_scored([path]))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Study:
    """Three learning rates of which the middle one is best; of the first a profile."""
    folder = tmp_path_factory.mktemp("sweep") / "outputs"
    for rate, quality in (("1e-4", 0.0), ("1e-3", 0.4), ("1e-2", 0.2)):
        run = write_fake_run(
            folder, rate, quality=quality, anchors=(0, 25, 100), num_pairs=3, learning_rate=rate, final=False
        )
        profile = run / "results" / "seed-0-tokens-100M" / "profile" / "cpu-float32.json"
        profile.parent.mkdir()
        latency = [{"length": 128, "median_ms": 5 + 10 * quality}]
        profile.write_text(json.dumps({"latency": latency, "machine": {"cpu": "Xeon", "num_threads": 2}}))
    return Study(read_runs([folder]))


def rows(spec: dict, panel: dict | None = None) -> list[dict]:
    """The data of a figure, or of one of its panels."""
    found: dict[str, list[dict]] = {}

    def walk(node: object) -> None:
        if isinstance(node, list):
            for each in node:
                walk(each)
        elif isinstance(node, dict):
            data = node.get("data")
            if isinstance(data, dict):
                name = data.get("name", str(id(data)))
                found[name] = data.get("values") or spec["datasets"][name]
            for key, each in node.items():
                if key not in ("data", "datasets"):
                    walk(each)

    walk(spec if panel is None else panel)
    return [row for values in found.values() for row in values]


def test_of_which_data_there_are_which_figures(table, sweep):
    assert set(page_figures(table)) == {"main", "grid", "agreement", "errors", "predicted", "fan", "trade_offs"}
    assert set(page_figures(sweep)) >= {"main", "phenomena_map", "paradigms_map", "trade_offs", "sweep", "training"}
    assert "grid" not in page_figures(sweep), "recipes of one corpus and size"


def test_the_grid_has_a_panel_for_each_corpus_and_size(table):
    points = rows(FIGURES["grid"](table))
    assert {row["title"] for row in points} == {f"{corpus}, {size}" for corpus in CORPORA for size in SIZES}
    (last,) = (row for row in points if row["title"] == "web, 60m" and row["tokens"] == 200_000_000)
    mean = sum(score("web", "60m", seed, 200) for seed in SEEDS) / len(SEEDS)
    assert last["value"] == pytest.approx(100 * mean)


def test_agreement_and_errors_are_those_of_predict(table):
    said = [row for row in table.prediction["agreement"] if row["statistic"] == "spearman" and row["scope"] == "pooled"]
    drawn = [row for row in rows(FIGURES["agreement"](table)) if row["line"] == "all runs together"]
    assert [row["value"] for row in drawn] == pytest.approx([row["value"] for row in said], abs=1e-4)
    spec = FIGURES["errors"](table)
    for protocol, panel in zip(("P1", "P2", "P3"), spec["concat"], strict=True):
        errors = [row for row in table.prediction["errors"] if row["protocol"] == protocol]
        for predictor, line in (("last_value", "last value"), ("stack", "stack")):
            drawn = [row["value"] for row in rows(spec, panel) if row["line"] == line]
            said = [100 * row["mae"] for row in errors if row["predictor"] == predictor]
            assert drawn == pytest.approx(said, abs=1e-4)


def test_early_scores_stand_beside_their_bounds_with_their_number(table):
    spec = FIGURES["agreement"](table)
    pairs = rows(spec, spec["concat"][1])
    (within,) = (row["value"] for row in table.prediction["ceilings"] if row["scope"] == "seed_means")
    assert within is None, "of so few seeds no ceiling is known, and none is drawn"
    bounds = {row["line"]: row["value"] for row in pairs if "tokens" not in row}
    assert bounds == {"bigger wins": 100}
    assert spec["concat"][1]["title"]["subtitle"][1] == "dashed: bigger wins 100"
    assert all(", n " in row["shown"] for row in pairs if "tokens" in row)
    (floor,) = (row["value"] for row in table.prediction["ceilings"] if row["scope"] == "error_floor")
    errors = FIGURES["errors"](table)
    for panel in errors["concat"]:
        (drawn,) = {row["value"] for row in rows(errors, panel) if row["line"] == "seeds alone"}
        assert drawn == pytest.approx(100 * floor)
        assert panel["title"]["subtitle"][0].startswith("blimp; ")
        assert panel["title"]["subtitle"][0].endswith("too few recipes for an interval")


def test_what_was_left_out_reaches_the_report(tmp_path):
    lines = [f"{corpus},{tokens},.{tokens},few" for corpus in "abcd" for tokens in (1, 2, 4)]
    path = tmp_path / "ways.csv"
    path.write_text("\n".join(["corpus,tokens,acc,settings", *lines, "e,1,.5,many"]) + "\n")
    prediction = Study(*read_scored([path])).prediction
    assert "score: left out, made with other settings (many) than most (few)" in prediction["notes"]


def test_what_is_counted_is_said(table, tmp_path):
    """Words are no tokens in the figures of predictions and below them, either."""
    path = tmp_path / "words.csv"
    rows_of_table = [(one.cell, one.seed, one.tokens, one.value, "words") for one in table.observations]
    lines = [",".join(map(str, row)) for row in [("corpus", "seed", "tokens", "acc", "unit"), *rows_of_table]]
    path.write_text("\n".join(lines) + "\n")
    study = Study(*read_scored([path]))
    for name in ("agreement", "errors", "fan"):
        said = {row["when"] for row in rows(FIGURES[name](study)) if "when" in row}
        assert said
        assert all(each.endswith(" words") for each in said)
    assert FIGURES["predicted"](study)["concat"][0]["title"]["text"] == "From 25M words"
    section = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE)).get_template("sections/early.html.in")
    below = section.render(prediction=study.prediction, figures={"agreement": {}})
    assert "with those at 200M words, over 8 runs" in below


def test_predictions_stand_beside_the_end_and_have_the_error_that_predict_says(table):
    for row in table.prediction["errors"]:
        if row["predictor"] == "stack" and row["protocol"] == "P1":
            of_cutoff = [each for each in table.hindcast if each["cutoff_tokens"] == row["cutoff_tokens"]]
            assert len(of_cutoff) == row["n"] == 8
            assert sum(abs(each["value"] - each["end"]) for each in of_cutoff) / 8 == pytest.approx(row["mae"])
            inside = [each["low80"] <= each["end"] <= each["high80"] for each in of_cutoff]
            assert sum(inside) / 8 == pytest.approx(row["coverage80"])
    drawn = [row for row in rows(FIGURES["predicted"](table)) if row.get("run") == "web 60m 8000, seed 1"]
    assert {row["end"] for row in drawn} == {100 * score("web", "60m", 1, 200)}


def on_its_way(path: Path, sizes: Sequence[str]) -> Study:
    """One run a recipe; that of `web` and 60m has two anchors to go."""
    lines = ["dataset,model_size,milestone,vocab_size,seed,acc"]
    for corpus in CORPORA:
        for size in sizes:
            reached = MILLIONS[:-2] if (corpus, size) == ("web", "60m") else MILLIONS
            lines += [f"{corpus},{size},{millions},8000,0,{score(corpus, size, 0, millions)}" for millions in reached]
    path.write_text("\n".join(lines) + "\n")
    return Study(*read_scored([path]))


def test_the_fan_of_a_run_on_its_way_opens_at_its_last_score(tmp_path):
    study = on_its_way(tmp_path / "scores.csv", (*SIZES, "180m"))
    points = rows(FIGURES["fan"](study))
    assert {row["title"] for row in points} == {"web 60m 8000, seed 0"}
    (said,) = (row for row in study.prediction["predictions"] if row["predictor"] == "stack")
    fan = [row for row in points if row["value"] is not None]
    assert [row["tokens"] for row in fan] == [50_000_000, 200_000_000]
    assert fan[0]["low95"] == fan[0]["high95"] == pytest.approx(100 * score("web", "60m", 0, 50))
    assert fan[1]["low80"] == pytest.approx(100 * said["low80"], abs=1e-3)


def test_an_interval_that_is_not_calibrated_is_not_drawn(table, tmp_path):
    study = on_its_way(tmp_path / "scores.csv", SIZES)  # three recipes have finished
    spec = FIGURES["fan"](study)
    fan = [row for row in rows(spec) if row["value"] is not None]
    assert len(fan) == 2
    assert all(row["low80"] is None and row["high95"] is None for row in fan)
    assert {row["title"] for row in fan} == {"web 60m 8000, seed 0: no calibrated interval"}
    for name in ("fan", "predicted"):  # of four recipes one is held out
        assert all(row.get("low80") is None for row in rows(FIGURES[name](table)))


def test_the_fans_of_many_recipes_have_both_ends_of_their_order(tmp_path):
    path = tmp_path / "many.csv"
    corpora = [f"c{number:02}" for number in range(14)]
    lines = [f"{corpus},{at},0,0.{at + place}" for place, corpus in enumerate(corpora) for at in (50, 60, 70)]
    path.write_text("\n".join(["corpus,tokens,seed,acc", *lines]) + "\n")
    spec = FIGURES["fan"](Study(*read_scored([path])))
    titles = {row["title"] for row in rows(spec)}
    assert {"c00, seed 0", "c13, seed 0"} < titles
    assert len(titles) == 12
    assert "12 of 14 recipes, a run of each" in spec["title"]["subtitle"]


def test_heat_maps_hold_the_last_scores(sweep):
    cells = rows(FIGURES["phenomena_map"](sweep))
    assert len(cells) == 3 * 12
    run = next(run for run in sweep.runs if run.name == "1e-3")
    (cell,) = (cell for cell in cells if cell["series"] == "1e-3" and cell["title"] == "ellipsis")
    assert cell["value"] == pytest.approx(
        100 * run.anchors[-1].results.tasks["lmeff_blimp_ellipsis"].metrics["acc"].value, abs=0.05
    )
    assert len(rows(FIGURES["paradigms_map"](sweep))) == 3 * 67


def test_settings_are_shown_by_bits_per_byte(sweep):
    points = rows(FIGURES["sweep"](sweep))
    assert {row["x"] for row in points} == {1e-4, 1e-3, 1e-2}
    best = min(points, key=lambda row: row["value"])
    assert best["x"] == 1e-3
    run = next(run for run in sweep.runs if run.name == "1e-3")
    assert best["value"] == pytest.approx(run.anchors[-1].document.dev_bits_per_byte, abs=1e-4)


def test_points_are_joined_that_differ_in_nothing_else():
    recipes = {
        "plain": {"model": {"tied": True}, "optimizer": {"learning_rate": "3e-4"}, "seed": 0, "name": "a"},
        "alike": {"model": {"tied": True}, "optimizer": {"learning_rate": 1e-3}, "seed": 1, "name": "b"},
        "untied": {"model": {"tied": False}, "optimizer": {"learning_rate": 1e-3}},
        "clipped": {"model": {"tied": True}, "optimizer": {"learning_rate": 1e-3}, "training": {"max_grad_norm": 1.0}},
        "other text": {"model": {"tied": True}, "optimizer": {"learning_rate": 1e-3}, "corpus": {"paths": ["x"]}},
    }
    settings = {label: dict(_settings(recipe)) for label, recipe in recipes.items()}
    names = line_names(settings, "optimizer.learning_rate")
    assert names.pop("plain") == names["alike"]
    assert len(set(names.values())) == 4
    assert names["clipped"] == "tied true, max_grad_norm 1, no paths"


def test_shapes_that_follow_from_a_budget_are_no_settings_and_who_is_alone_is_left_out(tmp_path):
    designs = {"a": (0.25, 2.66), "b": (0.35, 2.66), "c": (0.45, 2.66), "d": (0.35, 2), "e": (0.35, 4)}
    for width, (name, (share, factor)) in enumerate(designs.items(), 100):
        run = write_fake_run(tmp_path / "outputs", name, anchors=(0, 25), num_pairs=2, quality=factor / 10, final=False)
        found = {"fields": {"hidden_size": width}, "tie_word_embeddings": True, "parameters": 1}
        wanted = {"embedding_share": share, "glu_factor": factor}
        plan = json.loads((run / "plan.json").read_text())
        plan["budget"] = {"parameters": 1, **wanted, "found": {**found, **wanted}, "alternatives": []}
        (run / "plan.json").write_text(json.dumps(plan))
        model = f"family: llama, hidden_size: {width}, budget: {json.dumps(wanted)}"
        recipe = (run / "recipe.yaml").read_text().replace("family: llama, size: 180m", model)
        (run / "recipe.yaml").write_text(recipe)
    spec = FIGURES["sweep"](Study(read_runs([tmp_path / "outputs"])))
    titles = [panel["title"]["text"] for panel in spec["concat"]]
    assert titles == ["Bits per byte by embedding share", "Bits per byte by glu factor"]
    for panel, alone in zip(spec["concat"], ("de", "ac"), strict=True):
        assert {row["series"] for row in rows(spec, panel)} == set(designs) - set(alone)
        assert "left out: 2 that no other is joined with" in " ".join(panel["title"]["subtitle"])


def test_recipes_are_shown_at_the_last_anchor_that_all_have(sweep, tmp_path):
    for rate, anchors in (("1e-4", (0, 25)), ("1e-3", (0, 25, 100)), ("1e-2", (0, 25, 100))):
        write_fake_run(tmp_path / "outputs", rate, anchors=anchors, num_pairs=2, learning_rate=rate, final=False)
    spec = FIGURES["sweep"](Study(read_runs([tmp_path / "outputs"])))
    assert {row["when"] for row in rows(spec)} == {"25M tokens"}
    assert "at 25M tokens" in " ".join(spec["concat"][0]["title"]["subtitle"])


def test_scores_over_other_examples_are_left_out_and_named(sweep, tmp_path):
    for name, num_pairs in (("a", 4), ("b", 4), ("few", 2)):
        write_fake_run(tmp_path / "outputs", name, anchors=(0, 25, 50), num_pairs=num_pairs, final=False)
    study = Study(read_runs([tmp_path / "outputs"]))
    for name in ("trade_offs", "phenomena_map"):
        spec = FIGURES[name](study)
        assert {row["series"] for row in rows(spec) if "series" in row} == {"a", "b"}
        assert "left out, not scored as the others were: few" in json.dumps(spec)
    assert "95% interval over pairs" in json.dumps(FIGURES["trade_offs"](study))


def test_bands_say_all_that_they_are_over(tmp_path):
    lines = [
        "web,20m,25,0,.5,.01",
        "web,20m,50,0,.6,.01",
        *(f"web,60m,{at},{seed},.5{seed},.01" for at in (25, 50) for seed in (0, 1, 2)),
    ]
    for order in (lines, lines[::-1]):
        path = tmp_path / "seeds.csv"
        path.write_text("\n".join(["corpus,size,tokens,seed,acc,stderr", *order]) + "\n")
        spec = FIGURES["grid"](Study(*read_scored([path])))
        (words,) = spec["title"]["subtitle"]
        assert "95% t interval over 3 seeds" in words
        assert "95% interval over examples" in words


def test_nothing_cheaper_is_better_than_the_front(sweep):
    spec = FIGURES["trade_offs"](sweep)
    titles = [panel["title"]["text"] for panel in spec["concat"]]
    assert titles == [
        "Quality against training FLOPs",
        "Quality against training tokens",
        "Quality against milliseconds for 128 tokens, Xeon, 2 threads, float32",
    ]
    for panel in spec["concat"]:
        points = rows(spec, panel)
        dots = [row for row in points if "series" in row]
        front = [row for row in points if "series" not in row]
        assert dots
        for row in front:
            assert max(dot["value"] for dot in dots if dot["cost"] <= row["cost"]) == row["value"]
    assert {row["cost"] for row in rows(spec, spec["concat"][2]) if "series" in row} == {5, 9, 7}


def test_logs_are_drawn_as_they_were_written(sweep):
    spec = FIGURES["training"](sweep)
    assert [panel["title"]["text"] for panel in spec["concat"]] == ["Learning rate", "Gradient norm", "Throughput"]
    assert {row["value"] for row in rows(spec, spec["concat"][1])} == {0.6}
    assert {row["value"] for row in rows(spec, spec["concat"][2])} == {161_000.0}


@pytest.mark.parametrize("name", ["grid", "agreement", "errors", "predicted", "fan"])
def test_each_is_drawn_from_a_table(table, name):
    svg = render(figure_of(table, name), ".svg").decode()
    assert 'fill="#ffffff"' in svg.split("<g")[0]
    assert "NaN" not in svg
    assert "undefined" not in svg


@pytest.mark.parametrize("name", ["phenomena_map", "paradigms_map", "trade_offs", "sweep", "training"])
def test_each_is_drawn_from_runs(sweep, name):
    svg = render(figure_of(sweep, name), ".svg").decode()
    assert "NaN" not in svg
    assert "undefined" not in svg


def test_what_was_not_measured_is_refused_with_the_names_of_what_was(table):
    with pytest.raises(InputError, match="--figure sweep: of these runs there are main, grid, agreement, errors"):
        figure_of(table, "sweep")


def test_of_what_is_no_pair_no_color_says_that_it_is_below_chance(tmp_path):
    for name in ("a", "b"):
        run = write_fake_run(tmp_path / "outputs", name, anchors=(0, 25), num_pairs=3, final=False)
        for path in run.rglob("*.parquet"):
            path.unlink()
    spec = FIGURES["phenomena_map"](Study(read_runs([tmp_path / "outputs"])))
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == [0, 100]
    assert WRONG not in scale["range"]


def test_a_recipe_of_which_one_seed_was_scored_is_shown_by_that_one(tmp_path):
    for name, seed in (("a", 0), ("a", 1), ("b", 0), ("c", 0)):
        scored = (name, seed) != ("a", 1)
        write_fake_run(tmp_path / "outputs", name, seed, anchors=(0, 25), num_pairs=3, final=False, scored=scored)
    cells = rows(FIGURES["phenomena_map"](Study(read_runs([tmp_path / "outputs"]))))
    assert {cell["series"].partition(",")[0] for cell in cells} == {"a", "b", "c"}
