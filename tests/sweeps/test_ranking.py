"""`lmeff sweep rank`, on result files that were written by hand."""

import json
import math
from pathlib import Path

import pytest
from analysis.fake_runs import anchor_document, write_json
from scipy.stats import studentized_range

from lmeff.cli.main import main
from lmeff.sweeps.cases import Case, Sweep, read_sweep
from lmeff.sweeps.ranking import rank_sweep

RECIPE = """
name: base
corpus: {name: synthetic}
tokenizer: {vocab_size: 500}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
batch: {tokens: 512, sequence_length: 32}
anchors: {tokens: [0, 20k]}
schedule: {warmup: 5 steps}
"""
SWEEP = """sweep: study
recipe: base.yaml
seeds: [0, 1, 2]
axes:
  model.hidden_size: [32, 64]
  rate:
    slow: {optimizer.learning_rate: 1e-3}
    fast: {optimizer.learning_rate: 3e-3, schedule.name: linear}
"""
VALUES = {  # bits per byte by case, of three seeds
    "hidden_size-32_slow": [2.00, 2.02, 2.01],
    "hidden_size-32_fast": [1.90, 1.92, 1.92],
    "hidden_size-64_slow": [1.80, 1.81, 1.83],
    "hidden_size-64_fast": [1.50, 1.52, 1.51],
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(SWEEP)
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_run(case, VALUES[case.name][case.seed])
    return sweep


def write_run(case: Case, bits_per_byte: float, state: str = "complete") -> None:
    run = case.run
    document = anchor_document(case.seed, 20, 0.0) | {"nominal_tokens": 20_000, "dev_bits_per_byte": bits_per_byte}
    document |= {"dev_loss": bits_per_byte, "dev_perplexity": math.exp(bits_per_byte)}
    write_json(run.revision(f"seed-{case.seed}-tokens-20k") / "anchor.json", document)
    run.recipe_yaml.write_text(case.resolved.to_yaml())
    state_document = {"format": 1, "state": state, "step": 40, "tokens": 20_480, "next_anchor": None, "pid": 1}
    write_json(
        run.state_json,
        state_document | {"host": "h", "job": None, "error": None, "updated": "2026-11-22T14:40:00+00:00"},
    )


def write_profile(case: Case, milliseconds: float, load: float = 0.1) -> None:
    profile = {
        "machine": {"device": "cpu", "load_average": load},
        "latency": [{"length": 32, "median_ms": milliseconds}],
    }
    write_json(case.run.results_of(f"seed-{case.seed}-tokens-20k") / "profile" / "cpu-float32.json", profile)


def cases_of(sweep: Sweep, name: str) -> list[Case]:
    return [case for case in sweep.cases if case.name == name]


@pytest.mark.medium
def test_the_best_case_wins_where_it_differs_from_every_other(study: Sweep) -> None:
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]] == sorted(VALUES, key=lambda name: sum(VALUES[name]))
    assert ranking["winner"] == "hidden_size-64_fast"
    assert (ranking["test"], ranking["tokens"]) == ("Tukey's HSD, within seeds", 20_000)
    second = ranking["rows"][1]
    assert second["behind"] == pytest.approx(
        sum(VALUES["hidden_size-64_slow"]) / 3 - sum(VALUES["hidden_size-64_fast"]) / 3
    )
    half = studentized_range.ppf(0.95, 4, 6) * ranking["seed_sd"] / math.sqrt(3)
    assert (second["low"], second["high"]) == pytest.approx((second["behind"] - half, second["behind"] + half))
    assert second["values"] == {"model.hidden_size": 64, "rate": "slow"}
    widths = {one["value"]: one["mean"] for one in ranking["axes"]["model.hidden_size"]}
    assert widths == pytest.approx({"64": (1.80 + 1.81 + 1.83 + 1.50 + 1.52 + 1.51) / 6, "32": 11.77 / 6})


def test_nobody_wins_while_a_case_is_missing(study: Sweep) -> None:
    for case in cases_of(study, "hidden_size-32_slow"):
        write_run(case, 2.0, state="running")
    ranking = rank_sweep(study)
    assert ranking["winner"] is None
    assert ranking["missing"][0] == "hidden_size-32_slow, seed 0: running"
    assert len(ranking["rows"]) == 3
    assert ranking["axes"] == {}


def test_nor_of_one_seed(study: Sweep) -> None:
    ranking = rank_sweep(read_sweep("s.yaml", ["seed=[0]"]))
    assert (ranking["winner"], ranking["seed_sd"]) == (None, None)


@pytest.mark.medium
def test_ties_go_by_latency_where_it_was_measured(study: Sweep) -> None:
    for case in cases_of(study, "hidden_size-64_slow"):
        write_run(case, [1.50, 1.52, 1.52][case.seed])
    tied = ["hidden_size-64_fast", "hidden_size-64_slow"]
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]][:2] == tied
    assert ranking["winner"] is None
    assert ranking["notes"] == [f"ties are not broken by latency: no profile on an idle machine of {', '.join(tied)}"]
    for name, milliseconds in zip(tied, (5.0, 4.0), strict=True):
        write_profile(cases_of(study, name)[0], milliseconds)
    ranking = rank_sweep(study)
    assert [row["case"] for row in ranking["rows"]][:2] == tied[::-1]
    assert [row["latency_ms"] for row in ranking["rows"]] == [4.0, 5.0, None, None]
    assert (ranking["winner"], ranking["notes"]) == (None, [])
    write_profile(cases_of(study, tied[0])[0], 5.0, load=3.0)  # a busy machine
    assert rank_sweep(study)["notes"] == [f"ties are not broken by latency: no profile on an idle machine of {tied[0]}"]


@pytest.mark.medium
def test_what_is_not_of_one_text_is_refused(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    text = SWEEP.replace(
        "rate:\n    slow: {optimizer.learning_rate: 1e-3}\n", "text:\n    few: {corpus.synthetic.seed: 1}\n"
    )
    Path("other.yaml").write_text(text.replace("sweep: study", "sweep: other"))
    for case in read_sweep("other.yaml").cases:
        write_run(case, 1.0 + case.index / 10)
    assert main(["sweep", "rank", "other.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "dev_bits_per_byte is not of the same held-out text" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "dev_bits_per_bite"], "did you mean 'dev_bits_per_byte'?"),
        (
            ["--metric", "lmeff_blimp"],
            "s.yaml: no case has lmeff_blimp yet (hidden_size-32_slow, seed 0: no lmeff_blimp at 20k)",
        ),
        (["--write", "s.yaml"], "--write s.yaml: is there already; remove it, or name another file"),
    ],
)
def test_what_cannot_be_ranked_is_one_line(
    study: Sweep, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["sweep", "rank", "s.yaml", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.medium
def test_the_table_and_the_finalists(study: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    for case in cases_of(study, "hidden_size-64_slow"):
        write_run(case, [1.50, 1.52, 1.52][case.seed])
    Path("later").mkdir()
    assert main(["sweep", "rank", "s.yaml", "--metric", "dev_perplexity", "--write", "later/finals.yaml"]) == 0
    out = capsys.readouterr().out
    assert "study: dev_perplexity at 20k tokens, lower is better" in out
    assert "no winner: hidden_size-64_fast, hidden_size-64_slow do not differ for certain" in out
    finals = read_sweep("later/finals.yaml")
    assert finals.name == "study_finalists"
    assert sorted({case.name for case in finals.cases}) == ["hidden_size-64_fast", "hidden_size-64_slow"]
    assert finals.seeds == [0, 1, 2]
    fast = next(case.recipe for case in finals.cases if case.name == "hidden_size-64_fast")
    assert (fast.model.shape()["hidden_size"], fast.optimizer.learning_rate, fast.schedule.name) == (64, 3e-3, "linear")
    assert main(["sweep", "rank", "s.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["winner"] is None
