"""Figures of how values are spread: within phenomena, in boxes and in histograms. What is drawn is counted here once more."""

import json
import statistics
from bisect import bisect_right
from pathlib import Path

import pandas as pd
import pytest
from analysis.fake_runs import GROUP, SUBTASKS, say_which_tokens, write_documents, write_fake_run, write_json

from lmeff.analysis.charts.drawing import render
from lmeff.analysis.charts.figures import FIGURES, figure_of, page_figures
from lmeff.analysis.charts.study import Study
from lmeff.analysis.charts.themes import DASHES, SHAPES
from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.scores.paths import read_scored
from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokenizer, prepare_tokens

pytestmark = pytest.mark.medium
T_OF_TWO = 12.7062047
"""The 97.5% quantile of Student's t with one degree of freedom."""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Two seeds of one recipe, and one of another."""
    folder = tmp_path_factory.mktemp("spread") / "outputs"
    for name, seed, quality in (("a", 0, 0.0), ("a", 1, 0.1), ("b", 0, 0.4)):
        write_fake_run(folder, name, seed, anchors=(0, 25, 100), num_pairs=20, quality=quality, final=False)
    return Study(read_runs([folder]))


def data_of(spec: dict, *fields: str, title: str = "") -> list[dict]:
    """The rows that have these fields in a figure, or in its panel of that title."""
    tables: dict[str, list[dict]] = {}

    def walk(node: object) -> None:
        if isinstance(node, list):
            for each in node:
                walk(each)
        elif isinstance(node, dict):
            name = node["data"].get("name") if isinstance(node.get("data"), dict) else None
            if name:
                tables[name] = spec["datasets"][name]
            for key, each in node.items():
                if key != "datasets":
                    walk(each)

    walk(panel(spec, title) if title else spec)
    return [row for rows in tables.values() for row in rows if set(fields) <= set(row)]


def panel(spec: dict, title: str) -> dict:
    return next(each for each in spec["concat"] if each["title"]["text"] == title)


def scores(study: Study, name: str, task: str) -> list[float]:
    """In percent, at the end of each seed."""
    return [100 * run.anchors[-1].results.tasks[task].metrics["acc"].value for run in study.runs if run.name == name]


def test_models_stand_in_each_phenomenon_with_what_they_scored_and_chance(study):
    spec = FIGURES["grouped_phenomena"](study)
    rows = data_of(spec, "series", "title", "low")
    assert len(rows) == 2 * 12
    for task in SUBTASKS[GROUP]:
        title = task.removeprefix(f"{GROUP}_").replace("_", " ")
        of_a, of_b = (next(row for row in rows if (row["series"], row["title"]) == (name, title)) for name in "ab")
        first, second = scores(study, "a", task)
        mean, half = (first + second) / 2, T_OF_TWO * abs(first - second) / 2
        assert of_a["value"] == pytest.approx(mean, abs=1e-4)
        assert of_a["low"] == pytest.approx(max(mean - half, 0), abs=1e-3)
        assert of_a["high"] == pytest.approx(min(mean + half, 100), abs=1e-3)
        (single,) = scores(study, "b", task)
        assert of_b["value"] == pytest.approx(single, abs=1e-4)
        assert of_b["low"] < single < of_b["high"]
    assert {"value": 50} in data_of(spec)
    _, bars, dots = spec["layer"]
    assert bars["encoding"]["yOffset"]["scale"]["domain"] == ["a", "b"]
    assert dots["encoding"]["shape"]["scale"] == {"domain": ["a", "b"], "range": list(SHAPES[:2])}
    assert dots["encoding"]["color"]["scale"]["domain"] == ["a", "b"]
    words = " ".join(spec["title"]["subtitle"])
    assert "95% t interval over 2 seeds" in words
    assert "95% interval over pairs" in words
    assert "dashed: chance" in words


def literal_box(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)

    def quartile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    q1, q3 = quartile(0.25), quartile(0.75)
    inside = [value for value in ordered if q1 - 1.5 * (q3 - q1) <= value <= q3 + 1.5 * (q3 - q1)]
    return {"q1": q1, "median": statistics.median(ordered), "q3": q3, "from": inside[0], "to": inside[-1]}


def test_a_box_is_of_all_paradigms_and_what_lies_beyond_it_is_a_point(study):
    spec = FIGURES["paradigm_boxes"](study)
    leaves = [leaf for phenomenon in SUBTASKS[GROUP] for leaf in SUBTASKS[phenomenon]]
    for name in "ab":
        values = [statistics.mean(scores(study, name, leaf)) for leaf in leaves]
        (drawn,) = (row for row in data_of(spec, "median") if row["series"] == name)
        wanted = literal_box(values)
        assert drawn["n"] == 67
        assert {key: drawn[key] for key in wanted} == pytest.approx(wanted, abs=1e-3)
        beyond = sorted(value for value in values if not wanted["from"] <= value <= wanted["to"])
        points = sorted(row["value"] for row in data_of(spec, "paradigm") if row["series"] == name)
        assert points == pytest.approx(beyond, abs=1e-3)
    assert {"value": 50} in data_of(spec)


def test_seeds_of_a_table_are_boxes_and_two_are_too_few(tmp_path, study):
    path = tmp_path / "scores.csv"
    lines = [f"web,{tokens},{seed},0.{tokens + 3 * seed**2}" for tokens in (50, 60) for seed in range(4)]
    path.write_text("\n".join(["corpus,tokens,seed,acc", *lines, "tales,50,0,.5", "tales,50,1,.6"]) + "\n")
    spec = figure_of(Study(*read_scored([path])), "seed_boxes")
    (box,) = data_of(spec, "median")
    values = [60.0, 63, 72, 87]
    assert box == {"series": "web", "n": 4, **{key: pytest.approx(end) for key, end in literal_box(values).items()}}
    assert [(row["seed"], row["value"]) for row in data_of(spec, "seed")] == list(zip("0123", values, strict=True))
    assert FIGURES["seed_boxes"](study) is None, "three seeds are the fewest"


def check_histogram(rows: list[dict], values: list[float]) -> None:
    """Each row says from which number on, up to that of the next, which share of the values lies."""
    edges = [row["x"] for row in rows]
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = len(counts) - 1 if value == edges[-1] else bisect_right(edges, value) - 1
        if 0 <= place < len(counts):
            counts[place] += 1
    assert sum(counts) >= 0.995 * len(values), "what is left out is at most the outermost"
    drawn = [row["value"] for row in rows]
    assert drawn[-1] == drawn[-2], "the last step ends at the upper edge"
    # Edges are rounded for the page: a value on one may change its bin.
    assert sum(abs(one - 100 * count / len(values)) for one, count in zip(drawn, counts, strict=False)) < 0.5
    assert sum(drawn[:-1]) == pytest.approx(100, abs=0.6)


def test_losses_of_sentences_and_steps_are_counted(study):
    spec = FIGURES["losses"](study)
    pairs = pd.concat(
        pd.read_parquet(run.folder / "results" / f"seed-{run.seed}-tokens-100M" / "pairs" / f"{GROUP}.parquet")
        for run in study.runs
        if run.name == "a"
    )
    rows = data_of(spec, "bin", title="Loss of acceptable sentences")
    check_histogram([row for row in rows if row["series"] == "a"], (-pairs["good"]).tolist())
    rows = data_of(spec, "bin", title="How much likelier the acceptable sentence is")
    rows = [row for row in rows if row["series"] == "a"]
    check_histogram(rows, (pairs["good"] - pairs["bad"]).tolist())
    assert 0 in [row["x"] for row in rows], "no bin has pairs that are right and pairs that are wrong"
    losses = []
    for run in study.runs:
        if run.name == "a":
            lines = [json.loads(line) for line in (run.folder / "run.log.jsonl").read_text().splitlines()]
            losses += [line["loss"] for line in lines if line["tokens"] > lines[-1]["tokens"] / 2]
    rows = data_of(spec, "bin", title="Training loss of steps")
    check_histogram([row for row in rows if row["series"] == "a"], losses)
    dash = panel(spec, "Training loss of steps")["layer"][0]["encoding"]["strokeDash"]["scale"]
    assert dash == {"domain": ["a", "b"], "range": list(DASHES[:2])}


def with_pairs(run: Path, task: str, good: list[float], bad: list[float]) -> None:
    """Another suite at the last anchor."""
    results = run / "results" / f"seed-{run.name.removeprefix('seed-')}-tokens-25M"
    content = {
        "results": {task: {"alias": task, "acc,none": 0.5}},
        "group_subtasks": {},
        "configs": {},
        "versions": {task: 1},
        "n-samples": {task: {"original": len(good), "effective": len(good)}},
        "higher_is_better": {task: {"acc": True}},
    }
    write_json(results / f"{task}.json", content)
    columns = {"task": task, "pair": range(len(good)), "good": good, "bad": bad, "score": 1.0}
    pd.DataFrame(columns).to_parquet(results / "pairs" / f"{task}.parquet")


def test_losses_are_of_sentences_that_all_have(tmp_path):
    """Of `b` and `c` another suite is there, too, and of `d` that alone."""
    runs = {name: write_fake_run(tmp_path, name, anchors=(0, 25), num_pairs=5, final=False) for name in "abcd"}
    for name in "bcd":
        with_pairs(runs[name], "other", [-500.0, -600.0], [-700.0, -700.0])
    for path in [*runs["d"].glob(f"results/*/{GROUP}.json"), *runs["d"].glob(f"results/*/pairs/{GROUP}.parquet")]:
        path.unlink()
    spec = FIGURES["losses"](Study(read_runs([tmp_path])))
    title = "Loss of acceptable sentences"
    rows = data_of(spec, "bin", title=title)
    assert list(dict.fromkeys(row["series"] for row in rows)) == ["a", "b", "c"]
    for name in "ab":
        pairs = pd.read_parquet(runs[name] / "results" / "seed-0-tokens-25M" / "pairs" / f"{GROUP}.parquet")
        check_histogram([row for row in rows if row["series"] == name], (-pairs["good"]).tolist())
    words = " ".join(panel(spec, title)["title"]["subtitle"])
    assert f"of minimal pairs of {GROUP}, at 25M" in words
    assert "left out, without these pairs or not scored as the others were: d" in words

    path = runs["b"] / "results" / "seed-0-tokens-25M" / f"{GROUP}.json"
    content = json.loads(path.read_text())
    content["n-samples"] = {task: {"original": 5, "effective": 4} for task in content["n-samples"]}
    write_json(path, content)
    spec = FIGURES["losses"](Study(read_runs([runs["a"], runs["b"]])))
    assert {row["series"] for row in data_of(spec, "bin", title=title)} == {"a"}
    assert "not scored as the others were: b" in " ".join(panel(spec, title)["title"]["subtitle"])


def test_what_is_not_finite_is_left_out_and_said(tmp_path):
    run = write_fake_run(tmp_path, anchors=(0, 25), num_pairs=5, final=False)
    path = run / "results" / "seed-0-tokens-25M" / "pairs" / f"{GROUP}.parquet"
    pairs = pd.read_parquet(path)
    pairs.loc[:1, "good"] = float("-inf")
    pairs.loc[0, "bad"] = float("-inf")
    pairs.to_parquet(path)
    spec = FIGURES["losses"](Study(read_runs([run])))
    for title, values in (
        ("Loss of acceptable sentences", -pairs["good"][2:]),
        ("How much likelier the acceptable sentence is", (pairs["good"] - pairs["bad"])[2:]),
    ):
        check_histogram(data_of(spec, "bin", title=title), values.tolist())
        assert "not finite and left out: 2" in " ".join(panel(spec, title)["title"]["subtitle"])


def test_documents_are_as_long_as_the_tokenizer_cuts_them(tmp_path):
    """Of text that was really prepared."""
    from tokenizers import Tokenizer

    write_documents(tmp_path / "a.jsonl")
    corpus = prepare_text(Corpus(name="small", paths=[str(tmp_path / "a.jsonl")], dev_share=0.05), tmp_path / "data")
    folder = prepare_tokenizer(corpus, 300)
    tokens = prepare_tokens(corpus, folder)
    run = write_fake_run(tmp_path / "outputs", anchors=(0, 25), num_pairs=2, final=False)
    assert "lengths" not in page_figures(Study(read_runs([run]))), "nothing says which text it was"
    say_which_tokens(run, tmp_path / "data", tokens.fingerprint)
    spec = figure_of(Study(read_runs([run])), "lengths")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = Path(corpus.folder / "text" / "train-00000.jsonl").read_text().splitlines()
    trained = [json.loads(line)["text"] for line in lines]
    counts = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in trained]
    lengths = panel(spec, "Length of documents")
    check_histogram(data_of(spec, "bin", title="Length of documents"), [count + 2.0 for count in counts])
    assert f"median {statistics.median(counts) + 2:,.0f}" in " ".join(lengths["title"]["subtitle"])
    rates = [len(text.encode()) / count for text, count in zip(trained, counts, strict=True)]
    check_histogram(data_of(spec, "bin", title="Bytes a token"), rates)


def test_each_is_drawn_light_on_white(study):
    for name in ("grouped_phenomena", "paradigm_boxes", "losses"):
        svg = render(figure_of(study, name), ".svg").decode()
        assert 'fill="#ffffff"' in svg.split("<g")[0]
        assert "NaN" not in svg
        assert "undefined" not in svg
