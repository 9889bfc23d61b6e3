"""Seeds of one recipe: mean, number and t interval, in every form in which curves leave."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmeff.analysis import print_curves, read_runs, write_report
from lmeff.analysis.charts.series import curve_points, make_series
from lmeff.cli import main


def accuracies(paths, tokens: str, task: str = "lmeff_blimp") -> np.ndarray:
    return np.array([run.anchor(tokens).results.tasks[task].metrics["acc"].value for run in read_runs(paths)])


def t_interval(values: np.ndarray) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))


@pytest.fixture
def three(fake_run):
    return [fake_run(seed=seed, num_pairs=20, anchors=(0, 25, 1250)) for seed in (0, 1, 2)]


@pytest.mark.medium
def test_text_gives_mean_number_and_t_interval_over_seeds(three):
    text = print_curves(read_runs(three))
    block = text.split("\n\n")
    assert "180m_hybrid, seeds 0, 1, 2: mean over 3 seeds, with its 95% t interval over seeds" in block
    lines = block[block.index("180m_hybrid, seeds 0, 1, 2: mean over 3 seeds, with its 95% t interval over seeds") + 1]
    header, *rows = lines.splitlines()
    assert header.split() == ["tokens", "seeds", "dev", "loss", "bits/byte", "lmeff_blimp"]
    assert [row.split()[:2] for row in rows[:3]] == [["0", "3"], ["25M", "3"], ["1.25B", "3"]]
    values = 100 * accuracies(three, "1.25B")
    low, high = t_interval(values)
    assert rows[2].endswith(f"{values.mean():.1f} [{low:.1f}, {high:.1f}]")
    losses = np.array([run.anchor("1.25B").document.dev_loss for run in read_runs(three)])
    assert f"{losses.mean():.3f} [" in rows[2]
    gains = 100 * (accuracies(three, "1.25B") - accuracies(three, "0"))
    low, high = t_interval(gains)
    assert rows[3] == (
        f"lmeff_blimp: {gains.mean():+.1f} points from 0 to 1.25B tokens, mean of 3 seeds "
        f"(95% t interval over seeds {low:.1f} to {high:.1f})"
    )
    assert "one seed:" not in text


@pytest.mark.medium
def test_intervals_over_seeds_end_where_shares_do(fake_run, capsys):
    """99 and 97%: t of one degree of freedom is 12.7, so the interval is 85.3 to 110.7."""
    paths = [fake_run(seed=seed, num_pairs=5, anchors=(0, 25), final=False) for seed in (0, 1)]
    shares = {"seed-0-tokens-0": 0.49, "seed-1-tokens-0": 0.32, "seed-0-tokens-25M": 0.99, "seed-1-tokens-25M": 0.97}
    for file in (file for path in paths for file in path.glob("results/*/lmeff_blimp.json")):
        result = json.loads(file.read_text())
        for part in ("results", "groups"):
            result[part]["lmeff_blimp"]["acc,none"] = shares[file.parent.name]
        file.write_text(json.dumps(result))
    runs = read_runs(paths)
    text = print_curves(runs)
    assert "98.0 [85.3, 100.0]" in text
    assert "+57.5 points from 0 to 25M tokens, mean of 2 seeds (95% t interval over seeds -37.8 to 100.0)" in text
    assert main(["curves", *map(str, paths), "--json"]) == 0
    (seeds,) = json.loads(capsys.readouterr().out)["seeds"]
    highs = [
        mean["high"] for mean in seeds["means"] if (mean["task"], mean["nominal_tokens"]) == ("lmeff_blimp", 25_000_000)
    ]
    assert highs == [pytest.approx(1.10706, abs=1e-4)]
    (series,) = make_series(runs)
    points = curve_points(series, ["lmeff_blimp"], "acc", 100)
    assert points["high"].max() == 100


def test_one_seed_has_no_interval_over_seeds_and_says_so(three):
    text = print_curves(read_runs(three[:1]))
    assert "t interval" not in text
    assert "one seed: these intervals do not cover differences between seeds" in text.splitlines()
    assert "over 1,340 pairs, paired bootstrap, one seed)" in text.splitlines()[-1]
    assert text.count("seeds") == 1, "it is said once"


@pytest.mark.medium
def test_csv_and_json_hold_them_beside_what_they_held(three, fake_run, capsys):
    other = fake_run(name="alone", num_pairs=20, anchors=(0, 25))
    paths = [str(path) for path in (*three, other)]
    assert main(["curves", *paths, "--csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    rows = table[(table["task"] == "lmeff_blimp_binding") & (table["nominal_tokens"] == 25_000_000)].set_index("run")
    values = accuracies(three, "25M", "lmeff_blimp_binding")
    for _, row in rows.loc["180m_hybrid"].iterrows():
        assert row["num_seeds"] == 3
        assert tuple(row[["seed_mean", "seed_low", "seed_high"]]) == pytest.approx((values.mean(), *t_interval(values)))
        assert row["interval_over"] == "pairs"
        assert row["low"] < row["value"] < row["high"]
    assert rows.loc["alone", ["num_seeds", "seed_mean"]].isna().all()

    assert main(["curves", *paths, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (seeds,) = document["seeds"]
    assert (seeds["seeds"], seeds["interval"]) == ([0, 1, 2], "95% t interval over seeds")
    (mean,) = [
        mean
        for mean in seeds["means"]
        if (mean["task"], mean["metric"], mean["nominal_tokens"]) == ("lmeff_blimp_binding", "acc", 25_000_000)
    ]
    assert (mean["mean"], mean["low"], mean["high"]) == pytest.approx((values.mean(), *t_interval(values)))
    gains = 100 * (accuracies(three, "1250M") - accuracies(three, "0"))
    assert seeds["changes"][0]["points"] == pytest.approx(gains.mean())
    assert document["runs"][0]["changes"][0]["interval_over"] == "pairs"
    result = document["runs"][0]["anchors"][0]["results"]["lmeff_blimp"]
    assert result["interval_over"] == "pairs"
    assert result["metrics"]["acc"]["low"] < result["metrics"]["acc"]["value"] < result["metrics"]["acc"]["high"]


@pytest.mark.medium
def test_the_page_says_over_what_every_interval_is(three, tmp_path):
    page = write_report(read_runs(three), tmp_path / "several.html").read_text()
    low, high = t_interval(100 * accuracies(three, "1.25B"))
    assert f"[{low:.1f}, {high:.1f}]</td>" in page
    assert "in brackets its 95% t interval over seeds" in page
    assert "in brackets the 95% interval over pairs. It does not say how other seeds would come out." in page
    page = write_report(read_runs(three[:1]), tmp_path / "one.html").read_text()
    assert "<h2>Over seeds" not in page
    assert "over pairs, one seed" in page


@pytest.mark.medium
def test_no_plus_minus_is_left_that_could_mean_two_things(three, tmp_path):
    assert "±" not in print_curves(read_runs(three))
    assert "±" not in write_report(read_runs(three), tmp_path / "page.html").read_text().split("<script>")[0]


@pytest.mark.medium
def test_seeds_that_were_not_measured_alike_have_no_mean(three):
    path = three[1] / "results" / "seed-1-tokens-25M" / "lmeff_blimp.json"
    content = json.loads(path.read_text())
    content["n-samples"] = {task: {"original": 20, "effective": 5} for task in content["n-samples"]}
    path.write_text(json.dumps(content))
    text = print_curves(read_runs(three))
    seeds = text.split("with its 95% t interval over seeds\n\n")[1]
    assert [line.split()[-1] for line in seeds.splitlines()[1:4]][1] == "-"
    assert "[" in seeds.splitlines()[1].split()[-2]


@pytest.mark.medium
def test_a_mean_is_of_those_seeds_that_have_the_anchor_and_says_how_many(fake_run):
    paths = [fake_run(seed=seed, num_pairs=20, anchors=(0, 25, 50)) for seed in (0, 1, 2)]
    for name in ("seed-1", "seed-1-tokens-50M"):
        shutil.rmtree(paths[1] / "revisions" / name)
    lines = print_curves(read_runs(paths)).split("with its 95% t interval over seeds\n\n")[1].splitlines()
    assert lines[0].split()[:2] == ["tokens", "seeds"]
    assert [line.split()[:2] for line in lines[1:4]] == [["0", "3"], ["25M", "3"], ["50M", "2"]]
    assert "from 0 to 25M tokens, mean of 3 seeds" in lines[4]
