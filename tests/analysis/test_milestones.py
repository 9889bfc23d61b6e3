"""When curves reach a threshold, and from which anchor on they are close to their end: known answers and a slow way."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmeff.analysis.one_table.curves import Curves, Wanted
from lmeff.analysis.one_table.milestones import acquisition, close_from, closeness, reached_at
from lmeff.cli import main
from lmeff.errors import InputError

M = 10**6


def curves_of(tmp_path: Path, values: dict[str, list[list[float]]]) -> Curves:
    """By task the curves of seeds at 1M, 2M, 4M, ... tokens."""
    rows = [
        f"{task},{seed},{2**place * M},{value}"
        for task, of_seeds in values.items()
        for seed, curve in enumerate(of_seeds)
        for place, value in enumerate(curve)
    ]
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(["task,seed,tokens,acc", *rows]) + "\n")
    return Curves.read([path])


def test_a_threshold_is_reached_where_the_curve_stays_above_it():
    along = np.array([1.0, 2.0, 4.0, 8.0])
    values = np.array([[0.5, 0.6, 0.7, 0.8], [0.7, 0.5, 0.6, 0.8], [0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.6]])
    assert reached_at(values, along, 0.65, "linear").tolist() == pytest.approx([3.0, 5.0, 1.0, np.inf])
    assert reached_at(values, along, 0.65).tolist() == pytest.approx([8**0.5, 4 * 2**0.25, 1.0, np.inf])
    assert close_from(values, along, 0.1).tolist() == [4.0, 8.0, 1.0, 8.0]


def test_a_share_of_ties_is_nothing_that_is_learned(fake_run):
    values = Curves.read([fake_run(anchors=(0, 25, 50))]).values
    ties = values[values["metric"] == "acc"].assign(metric="ties")
    both = pd.concat([values, ties], ignore_index=True)
    assert len(acquisition(values)) > 0
    pd.testing.assert_frame_equal(acquisition(both), acquisition(values))
    pd.testing.assert_frame_equal(closeness(both), closeness(values))


def test_the_order_in_which_tasks_are_learned_and_its_intervals(tmp_path):
    late = [[0.5, 0.5, 0.6, 0.9], [0.5, 0.6, 0.7, 0.8], [0.5, 0.5, 0.5, 1.0]]
    early = [[0.5, 0.8, 0.9, 0.9], [0.6, 0.8, 0.8, 0.8], [0.7, 0.8, 0.8, 0.8]]
    never = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.6, 0.6, 0.9], [0.5, 0.6, 0.6, 0.6]]
    table = acquisition(curves_of(tmp_path, {"never": never, "late": late, "early": early}).values, 0.75)
    assert table["task"].tolist() == ["early", "late", "never"]
    rows = table.set_index("task")
    # Between anchors the logarithm of tokens is the axis: half way from 4M to 8M is 4M x 2^0.5.
    of_seeds = [4 * M * 2**share for share in (0.5, 0.5, 0.5)]
    assert rows.loc["late", ["low", "high"]].tolist() == pytest.approx([of_seeds[0]] * 2)
    reached = [1 * M * 2 ** ((0.75 - first) / (0.8 - first)) for first in (0.5, 0.6, 0.7)]
    logs = np.log(reached)
    low, high = np.exp(stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs)))
    assert rows.loc["early", ["low", "high", "interval_over"]].tolist() == [
        pytest.approx(low), pytest.approx(high), "seeds",
    ]  # fmt: skip
    assert rows.loc["early", "reached"] == pytest.approx(1 * M * 2 ** (0.15 / 0.2))
    assert rows.loc["never", ["num_reached", "num_seeds"]].tolist() == [1, 3]
    assert rows.loc["never", ["reached", "low", "high", "bootstrap_high"]].isna().all()
    # Of 27 resamples of `never` the first is the middle seed three times, which is reached: 1/27 is more than 2.5%.
    assert rows.loc["never", "bootstrap_low"] == pytest.approx(4 * M * 2 ** (0.15 / 0.3))


def test_what_is_above_at_its_first_anchor_or_below_at_its_last_is_no_exact_time(tmp_path):
    curves = curves_of(
        tmp_path,
        {"before": [[0.8, 0.8, 0.9]] * 3, "mixed": [[0.8, 0.9, 0.9], [0.5, 0.8, 0.9]], "later": [[0.5, 0.6]] * 2},
    )
    table = acquisition(curves.values, 0.75).set_index("task")
    assert table.loc["before", ["num_at_first", "first", "last"]].tolist() == [3, M, 4 * M]
    assert table.loc[["before", "mixed"], ["low", "high", "interval_over"]].isna().all(axis=None)
    found = {line[1]: line[2:] for line in curves.milestones(Wanted(threshold=0.75))[0][1]}
    assert found["before"] == ["<= 1M", "-", "-", "[<= 1M, <= 1M]", "3 of 3"]
    assert found["later"][0] == "not by 2M"


def test_a_recipe_whose_seeds_share_no_anchor_is_not_left_out(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("task,seed,tokens,acc\nt,0,1M,.5\nt,0,2M,.9\nt,1,4M,.9\nother,0,1M,.5\nother,0,2M,.9\n")
    curves = Curves.read([path])
    reached, close = (lines for _, lines in curves.milestones(Wanted(threshold=0.75, within=0.01)))
    assert [line[1:] for line in reached if line[1] == "t"] == [
        ["t", "seeds share no anchor", "-", "-", "-", "-"],
    ]
    assert [line[1:] for line in close if line[1] == "t"] == [["t", "seeds share no anchor", "-", "-", "-", "2"]]
    rows = {row["task"]: row for row in json.loads(curves.json(Wanted()))["acquired"]}
    assert (rows["t"]["reached"], rows["t"]["last"], rows["t"]["num_seeds"]) == (None, None, 2)
    assert (rows["t"]["num_reached"], rows["t"]["num_at_first"]) == (None, None)
    assert (rows["other"]["last"], rows["other"]["num_reached"], rows["other"]["num_seeds"]) == (2 * M, 1, 1)
    alone = curves.values[curves.values["task"] == "t"]
    assert acquisition(alone)["reached"].isna().all()
    assert closeness(alone)["close_from"].isna().all()


def test_flops_that_are_not_known_are_a_mistake(tmp_path):
    with pytest.raises(InputError, match="--axis flops: of none of these runs FLOPs are known"):
        curves_of(tmp_path, {"t": [[0.5, 0.8]]}).text(None, Wanted(axis="flops", threshold=0.75))


def test_the_bootstrap_is_that_of_all_resamples_in_turn(tmp_path):
    values = np.random.default_rng(0).normal([0.5, 0.6, 0.7, 0.8, 0.85], 0.03, (4, 5)).clip(0, 1)
    table = curves_of(tmp_path, {"t": values.tolist()}).values
    along = M * 2.0 ** np.arange(5)
    means = np.array([np.mean(resample, axis=0) for resample in product(values, repeat=4)])
    below = int(0.025 * len(means))
    for found, of_resamples in (
        (acquisition(table, 0.75), reached_at(means, along, 0.75)),
        (closeness(table, 0.06), close_from(means, along, 0.06)),
    ):
        expected = np.sort(of_resamples)[[below, -1 - below]]
        assert found.iloc[0][["bootstrap_low", "bootstrap_high"]].tolist() == pytest.approx(expected.tolist())


def test_one_seed_has_its_interval_over_examples(fake_run):
    curves = Curves.read([fake_run(num_pairs=50)])
    row = acquisition(curves.values, 0.6).set_index("task").loc["lmeff_blimp"]
    of_task = curves.values[(curves.values["task"] == row.name) & (curves.values["nominal_tokens"] > 0)]
    along = of_task["nominal_tokens"].to_numpy(float)
    assert row["interval_over"] == "examples"
    for name, end in (("low", "high"), ("reached", "value"), ("high", "low")):
        expected = reached_at(of_task[end].to_numpy(float)[None, :], along, 0.6)[0]
        assert row[name] == pytest.approx(expected)
    by_flops = acquisition(curves.values, 0.6, "flops").set_index("task").loc["lmeff_blimp"]
    expected = reached_at(of_task["value"].to_numpy(float)[None, :], of_task["flops"].to_numpy(float), 0.6)[0]
    assert by_flops["reached"] == pytest.approx(expected)


@pytest.mark.medium
def test_milestones_are_in_every_form(tmp_path, capsys):
    path = tmp_path / "curves.csv"
    curves_of(tmp_path, {"t": [[0.5, 0.8, 0.8], [0.5, 0.9, 0.9]]})
    words = ["curves", str(path), "--threshold", "0.65", "--within", "0.05"]
    for form in ([], ["--markdown"], ["--latex"]):
        assert main([*words, *form]) == 0
        out = capsys.readouterr().out
        assert "acc x 100 is 65 or more from there to the last anchor that all seeds have" in out
        assert "rom which anchor on acc x 100 is within 5 of its end" in out
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["acquired"][0]["reached"] == pytest.approx(M * 2 ** (0.15 / 0.35))
    assert (document["close"][0]["close_from"], document["close"][0]["num_seeds"]) == (2 * M, 2)


def test_words_and_tokens_stand_apart(tmp_path):
    path = tmp_path / "counted.csv"
    rows = [
        f"{run},{unit},{at}M,{value}"
        for run, unit in (("a", "words"), ("b", "tokens"))
        for at, value in ((1, 0.5), (2, 0.7))
    ]
    path.write_text("\n".join(["run,unit,tokens,acc", *rows]) + "\n")
    text = Curves.read([path]).text("markdown", Wanted(threshold=0.6, within=0.3))
    headers = [line for line in text.splitlines() if "| task |" in line]
    assert [header.split("|")[3].strip() for header in headers] == [
        "words to 60",
        "tokens to 60",
        "words, from",
        "tokens, from",
    ]
    paths = [path.with_name(f"{unit}.csv") for unit in ("words", "tokens")]
    for one, values in zip(paths, ((0.5, 0.7), (0.5, 0.9)), strict=True):
        lines = [f"a,{one.stem},{at}M,{value}" for at, value in zip((1, 2), values, strict=True)]
        one.write_text("\n".join(["run,unit,tokens,acc", *lines]) + "\n")
    curves = Curves.read(paths)
    points = curves.over_seeds[["unit", "nominal_tokens", "num_seeds", "mean"]].to_dict("split")["data"]
    assert points == [["words", M, 1, 0.5], ["words", 2 * M, 1, 0.7], ["tokens", M, 1, 0.5], ["tokens", 2 * M, 1, 0.9]]
    reached = acquisition(curves.table, 0.6).set_index("unit")["reached"].to_dict()
    assert reached == {unit: pytest.approx(M * 2 ** (0.1 / rise)) for unit, rise in (("words", 0.2), ("tokens", 0.4))}
    over_flops = path.with_name("flops.csv")
    over_flops.write_text("run,unit,tokens,flops,acc\na,words,1M,1e9,.5\na,words,2M,2e9,.7\n")
    assert "FLOPs to 60" in Curves.read([over_flops]).text(None, Wanted(threshold=0.6, axis="flops"))
