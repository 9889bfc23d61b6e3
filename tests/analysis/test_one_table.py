"""`lmeff curves` over runs, plain CSV files and sweeps: one table, its means over seeds, its gaps and its mistakes."""

import io
import json
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lmeff.analysis.one_table.curves import Curves, Wanted
from lmeff.analysis.scores.score_table import read_score_table
from lmeff.analysis.statistics.over_seeds import mean_intervals
from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.formats.provenance import PROVENANCE

PUBLISHED = "dataset,model_size,milestone,vocab_size,seed,acc"


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def published(tmp_path: Path, *skipped: tuple[int, int]) -> Path:
    """One recipe, three seeds, three anchors and a final; without (anchor, seed)s."""
    rows = [
        f"tinystories,60m,{at},8000,{seed},{0.5 + place / 10 + seed / 100}"
        for place, at in enumerate((25, 50, 100, "final"))
        for seed in range(3)
        if (at, seed) not in skipped
    ]
    return csv(tmp_path / "published.csv", PUBLISHED, *rows)


def test_a_plain_table_has_the_columns_of_runs(tmp_path, fake_run):
    run = fake_run(num_pairs=5, anchors=(0, 25))
    curves = Curves.read([run, published(tmp_path)])
    table = curves.table
    assert list(table.columns) == list(Curves.read([run]).table.columns)
    row = table[(table["run"] == "tinystories 60m 8000") & (table["revision"] == "50M")].iloc[1]
    assert row[["corpus", "size", "parameters", "vocab_size", "seed", "nominal_tokens", "tokens_per_step"]].tolist() == [
        "tinystories", "60m", 60_000_000, 8000, 1, 50_000_000, 65_536,
    ]  # fmt: skip
    assert row[["task", "metric", "value", "num_seeds"]].tolist() == ["blimp", "acc", 0.61, 3]
    expected = stats.t.interval(0.95, 2, loc=0.61, scale=stats.sem([0.60, 0.61, 0.62]))
    assert row[["seed_mean", "seed_low", "seed_high"]].tolist() == pytest.approx([0.61, *expected])
    ours = table[(table["run"] == "180m_hybrid") & (table["task"] == "lmeff_blimp_ellipsis_n_bar_1")].iloc[-1]
    assert ours[["phenomenon", "family", "flops"]].tolist() == ["lmeff_blimp_ellipsis", "llama", 191 * 1.5e14]
    assert pd.isna(ours["num_seeds"])


def test_a_task_is_what_is_part_of_no_other_in_suites_without_phenomena(fake_run, capsys):
    run = fake_run(num_pairs=2, anchors=(0, 25))
    for anchor in sorted((run / "results").iterdir()):
        for path in anchor.glob("*.json"):
            content = json.loads(path.read_text())
            group, (below, *_) = "lmeff_blimp", content["group_subtasks"]["lmeff_blimp"]
            leaves = content["group_subtasks"][below]
            content["group_subtasks"] = {group: leaves, **{leaf: [] for leaf in leaves}}
            content["groups"] = {group: content["groups"][group]}
            content["results"] = {task: content["results"][task] for task in (group, *leaves)}
            for number, task in enumerate(content["results"]):
                content["results"][task] |= {"ties,none": 0.25 * (number == 1)}
            path.write_text(json.dumps(content))
    curves = Curves.read([run])
    assert curves.table["parent"].dropna().unique().tolist() == ["lmeff_blimp"]

    def titles(level: str) -> list[str]:
        lines = curves.text("markdown", Wanted(level)).replace("\\", "").splitlines()
        return [line.strip("*") for line in lines if line.startswith("**")]

    assert titles("task") == ["lmeff_blimp (x 100: acc)"]  # and no ties where there are none
    assert [title for title in titles("paradigm") if "ties" in title] == [f"{leaves[0]} (x 100: ties)"]
    assert len(titles("paradigm")) == len(leaves) + 1
    assert main(["curves", str(run), "--tasks", "nope"]) == 2
    assert "there are lmeff_blimp, " in capsys.readouterr().err


def test_flops_are_those_of_teachers_and_of_scoring_too(fake_run):
    run = fake_run(num_pairs=2, anchors=(0, 25))
    path = run / "revisions" / "seed-0-tokens-25M" / "anchor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"flops_teachers": 7e15, "flops_scoring": 2e15}))
    assert set(Curves.read([run]).table["flops"].dropna()) == {191 * 1.5e14 + 9e15}


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_intervals_over_seeds_are_those_of_all_resamples_in_turn(num_seeds):
    values = np.random.default_rng(num_seeds).normal(0.6, 0.02, (4, num_seeds))
    found = mean_intervals(values)
    for row, of_point in zip(found, values, strict=True):
        means = sorted(mean(resample) for resample in product(of_point, repeat=num_seeds))
        below = int(0.025 * len(means) + 1e-9)
        low, high = stats.t.interval(0.95, num_seeds - 1, loc=of_point.mean(), scale=stats.sem(of_point))
        assert row == pytest.approx([of_point.mean(), low, high, means[below], means[-1 - below]])


def test_the_bootstrap_of_many_seeds_is_drawn_and_one_seed_has_no_interval():
    values = np.random.default_rng(1).normal(0, 1, (1, 40))
    drawn = np.random.default_rng(2).choice(values[0], (20_000, 40)).mean(1)
    assert mean_intervals(values)[0, 3:] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.03)
    assert np.isnan(mean_intervals(values[:, :1])[0, 1:]).all()
    assert mean_intervals(np.full((1, 3), 0.1))[0].tolist() == [0.1] * 5


def test_a_hole_is_listed_and_what_is_not_reached_is_none(tmp_path):
    path = published(tmp_path, (50, 1), (100, 2), ("final", 2))
    curves = Curves.read([path])
    assert "missing: 1 values that other runs have" in curves.notes
    assert "missing: tinystories 60m 8000, seed 1: blimp at 50M" in curves.notes
    assert curves.table.set_index(["revision", "seed"]).loc[("50M", 0), "num_seeds"] == 2


def test_a_value_twice_is_a_mistake_that_names_it(tmp_path, fake_run, capsys):
    rows = ["a,60m,25,8000,0,.5", "a,60m,25,8000,0,.6"]
    assert main(["curves", str(csv(tmp_path / "twice.csv", PUBLISHED, *rows))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "1 value is there more than once: a 60m 8000, seed 0, 25M, blimp (acc); " in line
    apart = csv(tmp_path / "apart.csv", "tokens,acc,settings", "1,.5,few", "1,.6,many", "2,.7,few", "2,.7,many")
    curves = Curves.read([apart])
    assert curves.table["num_seeds"].isna().all()
    assert "not comparable: score (acc): measured with other settings (few, many), and kept apart" in curves.notes
    run = fake_run(num_pairs=2, anchors=(0, 25))
    copy = tmp_path / "copy" / "seed-0"
    copy.parent.mkdir()
    run.rename(copy)
    fake_run(num_pairs=2, anchors=(0, 25))
    with pytest.raises(
        InputError, match=r"180m_hybrid, seed 0: 2 anchors are there twice, in .*seed-0 and in .*copy/seed-0"
    ):
        Curves.read([run, copy])


def test_a_metric_that_is_no_share_stays_as_it_is(tmp_path):
    rows = ["1,t,stable_rank,12.5", "1,t,ms,250", "1,t,acc,55", "1,t,train_norm,7"]
    path = csv(tmp_path / "x.csv", "tokens,task,metric,value", *rows)
    curves = Curves.read([path])
    assert curves.table["value"].tolist() == [12.5, 250, 0.55, 7]
    text = curves.text(None)
    assert "12.500" in text
    assert "x.csv: as they are, since they are not known as shares: ms, stable_rank, train_norm" in curves.notes
    assert "55.0" in text
    assert [one.value for one in read_score_table(path, {})[0]] == [12.5, 250, 0.55, 7]


def test_our_own_table_comes_back_as_it_was_written(tmp_path, fake_run):
    run = fake_run(num_pairs=2, anchors=(0, 25))
    result = {"results": {"shape": {"norm,none": 812.5, "effective_rank,none": 31.0}}, "measures": "weights"}
    counts = {"n-samples": {"shape": {"original": 1, "effective": 1}}, "configs": {}, "versions": {}}
    path = run / "results" / "seed-0-tokens-25M" / "weights.json"
    path.write_text(json.dumps(result | counts | {"higher_is_better": {}}))
    ours = Curves.read([run])
    (tmp_path / "ours.csv").write_text(ours.text("csv"))
    theirs = Curves.read([tmp_path / "ours.csv"])
    assert {"norm", "effective_rank"} < set(theirs.table["metric"])
    assert theirs.table["value"].tolist() == pytest.approx(ours.table["value"].tolist())


def test_means_over_other_numbers_of_examples_stand_in_tables_of_their_own(tmp_path):
    rows = [f"a,{seed},1M,0.{5 + seed},1000" for seed in (0, 1)] + ["a,2,1M,0.9,100"]
    curves = Curves.read([csv(tmp_path / "n.csv", "run,seed,tokens,acc,n", *rows)])
    text = curves.text("markdown")
    assert r"| a | 2 | 55.0 \[" in text
    assert "| a | 1 | 90.0 |" in text
    assert "n 1,000" in text
    assert any("over other numbers of examples (100, 1,000), and kept apart" in note for note in curves.notes)


def test_anchors_that_read_alike_are_two_columns(tmp_path):
    path = csv(tmp_path / "near.csv", "run,seed,tokens,acc", "a,0,10158080000,0.5", "a,0,10223616000,0.6")
    text = Curves.read([path]).text(None)
    assert "10,158,080,000" in text
    assert "50.0" in text
    assert "60.0" in text


def test_seeds_with_names_make_the_whole_column_text(tmp_path, fake_run):
    path = csv(tmp_path / "x.csv", "corpus,seed,tokens,acc", "a,first,1,.5", "a,2,1,.6")
    seeds = Curves.read([fake_run(num_pairs=2, anchors=(0, 25)), path]).table["seed"]
    assert set(seeds) == {"0", "first", "2"}


def test_many_seeds_have_an_interval_and_other_ways_a_label_of_their_own(tmp_path):
    rows = [f"a,{seed},1M,0.{500 + seed},{way}" for seed in range(10) for way in ("few", "many")]
    text = Curves.read([csv(tmp_path / "x.csv", "run,seed,tokens,acc,settings", *rows)]).text("latex")
    assert "One seed has no such interval" not in text
    assert text.count(r"\label{tab:curves-score-acc-few}") == text.count(r"\label{tab:curves-score-acc-many}") == 1


def test_a_table_that_repeats_a_run_is_a_mistake(tmp_path, fake_run):
    run = fake_run(num_pairs=2, anchors=(0, 25))
    path = csv(tmp_path / "again.csv", "run,seed,tokens,task,metric,value", "180m_hybrid,0,25M,dev,dev_loss,5.0")
    message = r"1 value is there more than once: 180m_hybrid, seed 0, 25M, dev \(dev_loss\)"
    for held_out in (None, "ab"):
        if held_out:
            write_provenance(run, held_out)
        with pytest.raises(InputError, match=message):
            Curves.read([run, path])
    csv(path, "run,seed,tokens,task,metric,value,data", "180m_hybrid,0,25M,dev,dev_loss,5.0,other")
    curves = Curves.read([run, path])
    assert set(curves.over_seeds.query("task == 'dev'")["num_seeds"]) == {1}


def test_losses_of_other_texts_have_no_mean_over_seeds(fake_run):
    runs = [fake_run(seed=seed, num_pairs=2, anchors=(0, 25)) for seed in (0, 1)]
    for run in runs:
        write_provenance(run, "ab")
    same = Curves.read(runs).over_seeds.query("task == 'dev'")
    write_provenance(runs[1], "cd")
    other = Curves.read(runs).over_seeds.query("task == 'dev'")
    assert (set(same["num_seeds"]), set(other["num_seeds"])) == ({2}, {1})


def write_provenance(run: Path, held_out: str) -> None:
    for revision in (run / "revisions").iterdir():
        (revision / PROVENANCE).write_text(json.dumps({"corpus": {"held_out_sha256": held_out}}))


def test_losses_of_other_vocabularies_are_told_apart(tmp_path):
    rows = ["1,a,8k,3.1", "1,b,16k,3.3"]
    path = csv(tmp_path / "losses.csv", "tokens,corpus,vocab_size,dev_loss", *rows)
    curves = Curves.read([path], "value=dev_loss")
    assert set(curves.table["metric"]) == {"dev_loss"}
    assert any(
        "vocabularies of 8,000, 16,000 entries: a token is another amount of text" in note for note in curves.notes
    )
    assert "3.100" in curves.text(None)


@pytest.mark.medium
def test_every_form_holds_the_same_numbers(tmp_path, capsys):
    path = published(tmp_path)
    for name in ("x.csv", "x.parquet", "x.json", "x.md", "x.tex"):
        assert main(["curves", str(path), "-o", str(tmp_path / name)]) == 0
    table = Curves.read([path]).table
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), table)
    assert pd.read_csv(tmp_path / "x.csv")["value"].tolist() == table["value"].tolist()
    document = json.loads((tmp_path / "x.json").read_text())
    assert [row["value"] for row in document["rows"]] == table["value"].tolist()
    assert document["curves"][1]["mean"] == pytest.approx(0.61)
    assert (document["format"], document["missing"]) == (1, [])
    assert r"| tinystories 60m 8000 | 3 | 51.0 \[48.5, 53.5\] |" in (tmp_path / "x.md").read_text()
    assert r"tinystories 60m 8000 & 3 & 51.0 [48.5, 53.5] &" in (tmp_path / "x.tex").read_text()
    capsys.readouterr()
    assert main(["curves", str(path), "--csv"]) == 0
    assert pd.read_csv(io.StringIO(capsys.readouterr().out)).shape == table.shape
    assert main(["curves", str(path), "--markdown", "--axis", "flops"]) == 0
    assert r"| tinystories 60m 8000 | 50M | - | 3 | 61.0 | \[58.5, 63.5\] | \[60.0, 62.0\] |" in capsys.readouterr().out
    assert main(["curves", str(path)]) == 0
    assert "tinystories 60m 8000      3  51.0  61.0  71.0   81.0        [68.5, 73.5]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "blmp"], "--tasks blmp: no values of it; did you mean blimp?"),
        (["--level", "phenomenon", "--latex"], "--level phenomenon: no values at it; there are some of task, paradigm"),
        (["-o", "x.xls"], "x.xls: the ending says what is written"),
        (["-o", "none/x.csv"], "none/x.csv: there is no folder none"),
        (["--columns", "corpus=datset"], "no column 'datset' for corpus"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["curves", str(published(tmp_path)), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_each_of_several_tables_takes_the_columns_that_it_has(tmp_path):
    other = csv(tmp_path / "other.csv", "steps,lang,acc", "3,de,55")
    curves = Curves.read([published(tmp_path), other], "tokens=steps:2M,corpus=lang")
    assert curves.table.iloc[-1][["corpus", "nominal_tokens", "value"]].tolist() == ["de", 6_000_000, 0.55]
    assert curves.table.iloc[0][["corpus", "tokens_per_step"]].tolist() == ["tinystories", 65_536]
    with_columns = Curves.read([published(tmp_path)], "tokens=milestone:M,corpus=dataset")
    assert with_columns.table["tokens_per_step"].eq(65_536).all()


def test_a_sweep_stands_for_the_runs_of_its_cases(tmp_path, fake_run, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv(
        tmp_path / "base.yaml",
        "corpus: {name: synthetic}",
        "model: {family: llama, size: 20m}",
        "batch: {tokens: 4096, sequence_length: 64}",
        "anchors: {tokens: [0, 25M]}",
    )
    sweep = csv(tmp_path / "s.yaml", "sweep: s", "recipe: base.yaml", "seeds: [0, 1]")
    assert main(["curves", str(sweep)]) == 2
    assert "none of its 2 cases has begun; lmeff sweep run" in capsys.readouterr().err
    fake_run(name="s", num_pairs=2, anchors=(0, 25))
    assert main(["curves", str(sweep), "--csv"]) == 0
    out, err = capsys.readouterr()
    assert set(pd.read_csv(io.StringIO(out))["run"]) == {"s"}
    assert f"{sweep}: 1 of 2 cases have not begun" in err


def test_results_of_lm_eval_itself_are_curves(tmp_path):
    """As `lm_eval run --output_path` leaves them: one folder for all revisions of a repository."""
    folder = tmp_path / "out" / "someone__small"
    folder.mkdir(parents=True)
    arguments = {
        "2025-11-01T10-00-00.0": "pretrained=someone/small,revision=seed-1-tokens-25M",
        "2025-11-01T11-00-00.0": "pretrained=someone/small,revision=seed-1-tokens-50M",
        "2025-11-02T10-00-00.0": "revision=seed-1-tokens-50M,pretrained=someone/small,dtype=float32",
        "2025-11-03T10-00-00.0": {"pretrained": "someone/small"},
    }
    for place, (date, model_args) in enumerate(arguments.items()):
        result = {
            "results": {"blimp": {"acc,none": 0.5 + place / 10, "acc_stderr,none": 0.01}},
            "configs": {}, "versions": {}, "higher_is_better": {}, "n-samples": {"blimp": {"effective": 50}},
            "config": {"model": "hf", "model_args": model_args},
        }  # fmt: skip
        (folder / f"results_{date}.json").write_text(json.dumps(result))
    table = Curves.read([tmp_path / "out"]).table
    assert table[["run", "seed", "nominal_tokens", "value", "n"]].to_numpy().tolist() == [
        ["small", 1, 25_000_000, 0.6 - 0.1, 50], ["small", 1, 50_000_000, 0.7, 50],
    ]  # fmt: skip


_CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=30)
@given(
    rows=st.dictionaries(
        st.tuples(_CELLS, st.integers(0, 9), st.integers(1, 10**12)),
        st.floats(0, 1).map(lambda value: round(value, 9)),
        min_size=1,
        max_size=12,
    ),
    task=_CELLS,
)
def test_any_table_comes_back_as_it_was_written(tmp_path_factory, rows, task):
    path = tmp_path_factory.mktemp("any") / "any.csv"
    written = [
        {"corpus": corpus, "seed": seed, "tokens": tokens, "task": task, "metric": "acc", "value": value}
        for (corpus, seed, tokens), value in rows.items()
    ]
    pd.DataFrame(written).to_csv(path, index=False)
    found, _ = read_score_table(path, {})
    assert [(one.corpus, int(one.seed), one.tokens, one.value) for one in found] == [
        (corpus, seed, tokens, pytest.approx(value)) for (corpus, seed, tokens), value in rows.items()
    ]
    assert {one.task for one in found} == {task}


@given(content=st.binary(max_size=120) | st.text("tokens,acc\n\"';\t .5-eNaA1\0\ufeff\r", max_size=80).map(str.encode))
def test_any_file_is_read_or_refused_in_lines_that_name_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "x.csv"
    path.write_bytes(content)
    found, mistakes = [], ()
    try:
        found, _ = read_score_table(path, {})
    except InputError as error:
        mistakes = error.mistakes
    assert bool(found) != bool(mistakes)
    assert all("x.csv" in line and "\n" not in line for line in mistakes)


def test_seeds_with_names_beside_runs(fake_run, tmp_path, capsys):
    folders = [str(fake_run(num_pairs=2, anchors=(0, 25), seed=seed)) for seed in range(2)]
    table = csv(tmp_path / "named.csv", "corpus,seed,tokens,task,value", "a,x,25000000,t,0.6", "a,y,25000000,t,0.8")
    assert main(["curves", *folders, str(table)]) == 0
    said = capsys.readouterr().out
    assert "seeds 0, 1: mean over 2 seeds" in said
    assert "70.0" in said
    assert main(["curves", *folders, str(table), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["seed"] for row in document["rows"]} == {"0", "1", "x", "y"}
    assert len(document["seeds"][0]["means"]) > 0
