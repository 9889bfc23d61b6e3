"""The tidy table, and curves as CSV, JSON and text."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from lmeff.analysis import change, curves_csv, curves_json, print_curves, read_runs, tidy_table, write_report

COLUMNS = [
    "run",
    "seed",
    "corpus",
    "size",
    "vocab_size",
    "revision",
    "nominal_tokens",
    "exact_tokens",
    "step",
    "unit",
    "task",
    "level",
    "metric",
    "value",
    "stderr",
    "n",
    "low",
    "high",
    "interval_over",
    "recipe",
    "family",
    "parameters",
    "tokens_per_step",
    "flops",
    "phenomenon",
    "data",
    "settings",
    "parent",
]
SEED_COLUMNS = ["num_seeds", "seed_mean", "seed_low", "seed_high", "seed_bootstrap_low", "seed_bootstrap_high"]


def test_one_row_for_each_measurement(finished_run):
    table = tidy_table(read_runs([finished_run]))
    assert list(table.columns) == COLUMNS
    assert not table.duplicated(["run", "seed", "revision", "task", "metric"]).any()
    # 9 anchors with 80 tasks and 3 losses each; the training loss has no value at step 0.
    assert len(table) == 9 * (80 + 3) + 8
    assert table["level"].value_counts().to_dict() == {"paradigm": 603, "phenomenon": 108, "group": 9, "loss": 35}
    assert table["value"].notna().all()


def test_the_values_are_those_of_the_files(finished_run):
    table = tidy_table(read_runs([finished_run])).set_index(["revision", "task", "metric"])
    name = "seed-0-tokens-500M"
    results = json.loads((finished_run / "results" / name / "lmeff_blimp.json").read_text())["results"]
    for task, n in (("lmeff_blimp", 67 * 200), ("lmeff_blimp_ellipsis", 400), ("lmeff_blimp_causative", 200)):
        row = table.loc[(name, task, "acc")]
        assert row["value"] == results[task]["acc,none"]
        assert row["stderr"] == results[task]["acc_stderr,none"]
        assert row["n"] == n
    anchor = json.loads((finished_run / "revisions" / name / "anchor.json").read_text())
    row = table.loc[(name, "dev", "dev_bits_per_byte")]
    assert row["value"] == anchor["dev_bits_per_byte"]
    assert pd.isna(row["stderr"])
    assert pd.isna(row["n"])
    assert table.loc[(name, "train", "loss"), "value"] == anchor["loss"]
    assert row[["run", "seed", "corpus", "size", "vocab_size", "step"]].tolist() == [
        "180m_hybrid", 0, "hybrid_3.7B", "180m", 50257, 3815,
    ]  # fmt: skip
    assert (row["nominal_tokens"], row["exact_tokens"]) == (500_000_000, 3815 * 131_072)


@pytest.mark.medium
def test_where_lm_eval_gives_no_standard_error_the_pairs_do(fake_run):
    folder = fake_run(num_pairs=40)
    expected = tidy_table(read_runs([folder]))
    for path in folder.glob("results/*/lmeff_blimp.json"):
        content = json.loads(path.read_text())
        for values in [*content["results"].values(), *content["groups"].values()]:
            values["acc_stderr,none"] = "N/A"
        path.write_text(json.dumps(content))
    found = tidy_table(read_runs([folder]))
    np.testing.assert_allclose(found["stderr"], expected["stderr"], rtol=1e-9)


@pytest.mark.medium
def test_where_all_are_right_the_interval_is_over_the_items_that_pairs_were_made_from(fake_run, tmp_path):
    """10 pairs of 5 items in each of 67 paradigms: 335 items are fewer than 670 pairs."""
    folder = fake_run(num_pairs=10, anchors=(0, 25), final=False)
    for path in folder.glob("results/*/lmeff_blimp.json"):
        result = json.loads(path.read_text())
        for values in (*result["results"].values(), *result["groups"].values()):
            values.update({"acc,none": 1.0, "acc_stderr,none": 0.0})
        items = dict.fromkeys(result["n-samples"], 5)
        result["lmeff"] = {"num_pairs": 670, "num_items": 335, "num_items_of": items}
        path.write_text(json.dumps(result))
    runs = read_runs([folder])
    table = tidy_table(runs).query("metric == 'acc' and nominal_tokens == 25_000_000").set_index("task")
    for task, num_items in (("lmeff_blimp", 335), ("lmeff_blimp_ellipsis", 10), ("lmeff_blimp_causative", 5)):
        expected = binomtest(num_items, num_items).proportion_ci(method="wilson")
        row = table.loc[task]
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert (row["n"], row["interval_over"]) == (2 * num_items, "items")
        found = curves_json(runs)["runs"][0]["anchors"][-1]["results"][task]
        assert found["metrics"]["acc"]["low"] == pytest.approx(expected.low, abs=1e-6)
        assert found["interval_over"] == "items"
    assert "with its 95% interval over items" in print_curves(runs)
    assert "over items, one seed" in write_report(runs, tmp_path / "page.html").read_text()


def test_metrics_of_any_task_keep_their_names(fake_run):
    folder = fake_run(num_pairs=2)
    document = {
        "results": {"gsm": {"exact_match,strict": 0.2, "exact_match_stderr,strict": 0.01, "f1,none": 0.5}},
        "configs": {}, "versions": {}, "higher_is_better": {}, "n-samples": {"gsm": {"original": 9, "effective": 5}},
    }  # fmt: skip
    (folder / "results" / "seed-0-tokens-25M" / "gsm.json").write_text(json.dumps(document))
    run = read_runs([folder])[0]
    table = tidy_table([run])
    rows = table[table["task"] == "gsm"].set_index("metric")
    assert rows.loc["exact_match,strict", ["value", "stderr", "n", "level"]].tolist() == [0.2, 0.01, 5, "paradigm"]
    assert rows.loc["f1", "value"] == 0.5
    assert set(run.headline_tasks) == {"lmeff_blimp", "gsm"}
    assert "gsm" not in print_curves([run])


def test_the_result_over_more_examples_counts(fake_run):
    folder = fake_run(num_pairs=20)
    path = folder / "results" / "seed-0-tokens-25M" / "lmeff_blimp.json"
    content = json.loads(path.read_text())
    leaf = "lmeff_blimp_causative"
    alone = {
        **content, "groups": {}, "group_subtasks": {}, "results": {leaf: {"acc,none": 0.125}},
        "n-samples": {leaf: {"original": 20, "effective": 8}},
    }  # fmt: skip
    (path.parent / f"{leaf}.json").write_text(json.dumps(alone))
    value = read_runs([folder])[0].anchor("25M").results.tasks[leaf].metrics["acc"].value
    assert value == content["results"][leaf]["acc,none"]


def test_no_runs_make_an_empty_table_with_all_columns():
    assert list(tidy_table([]).columns) == COLUMNS


@pytest.mark.medium
def test_csv_comes_back_as_the_table(finished_run):
    runs = read_runs([finished_run])
    back = pd.read_csv(io.StringIO(curves_csv(runs)))
    table = tidy_table(runs)
    assert list(back.columns) == COLUMNS + SEED_COLUMNS
    assert back[SEED_COLUMNS].isna().all().all(), "one seed has no mean over seeds"
    np.testing.assert_allclose(back["value"], table["value"])
    assert back["revision"].tolist() == table["revision"].tolist()


@pytest.mark.medium
def test_json_holds_curves_and_changes_and_no_nan(fake_run, finished_run):
    empty = fake_run(name="young", anchors=(0, 100), scored=False, state="running")
    runs = read_runs([finished_run, empty])
    document = json.loads(json.dumps(curves_json(runs), allow_nan=False))
    assert document["format"] == 1
    full, young = document["runs"]
    assert [anchor["nominal_tokens"] for anchor in full["anchors"]][:2] == [0, 25_000_000]
    assert full["anchors"][0]["loss"] is None
    last = full["anchors"][-1]["results"]["lmeff_blimp"]
    assert last["level"] == "group"
    assert last["metrics"]["acc"]["value"] == runs[0].anchors[-1].results.tasks["lmeff_blimp"].metrics["acc"].value
    assert last["tie_rate"] > 0
    assert full["changes"][0]["points"] == pytest.approx(change(runs[0], "lmeff_blimp").points)
    assert young["state"] == "running"
    assert young["changes"] == []
    assert young["anchors"][0]["results"] == {}


@pytest.mark.medium
def test_text_shows_every_anchor_and_what_changed(finished_run):
    run = read_runs([finished_run])[0]
    lines = print_curves([run]).splitlines()
    assert lines[0] == "180m_hybrid, seed 0: complete, hybrid_3.7B, 2B tokens, 233M parameters"
    header = next(line for line in lines if line.lstrip().startswith("tokens"))
    assert header.split("  ")[-1].strip() == "lmeff_blimp"
    rows = lines[lines.index(header) + 1 :][:9]
    assert [row.split()[0] for row in rows] == ["0", "25M", "50M", "100M", "250M", "500M", "1B", "1.5B", "2B"]
    assert len({len(row) for row in [header, *rows]}) == 1
    assert rows[0].split()[2] == "-"
    score = run.anchors[-1].results.tasks["lmeff_blimp"].metrics["acc"]
    low, high = (
        100 * (score.value + side * 1.96 * score.stderr) for side in (-1, 1)
    )  # so many pairs that Wald's will do
    assert rows[-1].endswith(f"{100 * score.value:.1f} [{low:.1f}, {high:.1f}]")
    assert "accuracy in %, with its 95% interval over pairs; chance is 50" in lines
    assert "one seed: these intervals do not cover differences between seeds" in lines
    assert lines[-1] == str(change(run, "lmeff_blimp"))


def test_text_of_a_failed_run_says_why(fake_run):
    folder = fake_run(num_pairs=2, state="failed", error="the loss is NaN at step 40", anchors=(0, 25))
    assert "error: the loss is NaN at step 40" in print_curves(read_runs([folder]))


def test_text_of_a_run_without_anchors(tmp_path):
    folder = tmp_path / "outputs" / "new" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("name: new\n")
    (folder / "revisions").mkdir()
    assert print_curves(read_runs([folder])) == "new, seed 0: no state.json, 0 tokens\nno anchor yet\n"
