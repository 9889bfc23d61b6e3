"""The rule of promotion: better for certain, at no more latency and memory."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from analysis.fake_runs import write_json
from scipy.stats import studentized_range
from sweeps.ranked import RECIPE, SWEEP, VALUES
from sweeps.written_runs import write_run

from lmeff.cli.main import main
from lmeff.errors import InputError
from lmeff.sweeps.cases import Case, read_sweep
from lmeff.sweeps.ranking.costs import Cost, cost_of, is_idle
from lmeff.sweeps.ranking.promotion import promotion
from lmeff.sweeps.ranking.section import Promote

RULE = Promote(baseline="base")


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def costs(**of_cases: tuple[float, float]) -> dict[str, list[Cost | None]]:
    """Milliseconds and bytes of three seeds, which lie around these."""
    return {
        name: [Cost("a machine", latency * part, memory) for part in (0.99, 1.0, 1.3)]
        for name, (latency, memory) in of_cases.items()
    }


STUDY = {"base": seeds(10.0, 10.1, 9.9), "good": seeds(9.0, 9.1, 9.05), "better": seeds(8.9, 9.0, 9.05)}
EQUAL = costs(base=(5, 100), good=(5, 100), better=(5, 100))


def promoted(
    of_cases: dict[str, list[Cost | None]], rule: Promote = RULE, missing: Sequence[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    found = promotion(rule, STUDY, of_cases, paired=False, lower_is_better=True, missing=missing)
    return found["promoted"], {row["case"]: row["reasons"] for row in found["rows"]}


def test_the_gain_and_its_interval_are_those_of_logarithms() -> None:
    logs = np.log([[*one.values()] for one in STUDY.values()])
    pooled = math.sqrt(logs.var(axis=1, ddof=1).mean())
    half = studentized_range.ppf(0.95, 3, 6) * pooled / math.sqrt(3)
    difference = logs[1].mean() - logs[0].mean()
    found = promotion(RULE, STUDY, EQUAL, paired=False, lower_is_better=True)
    [row] = [row for row in found["rows"] if row["case"] == "good"]
    expected = [1 - math.exp(difference + by) for by in (0, half, -half)]
    assert [row["gain"], row["low"], row["high"]] == pytest.approx(expected)


def test_where_higher_is_better_a_gain_is_of_the_baseline_too() -> None:
    study = {"base": seeds(0.5, 0.5001), "other": seeds(0.6, 0.6001)}
    found = promotion(RULE, study, costs(base=(1, 1), other=(1, 1)), paired=False, lower_is_better=False)
    assert found["promoted"] == ["other"]
    assert found["rows"][0]["gain"] == pytest.approx(0.2, rel=1e-3)


def test_of_two_that_are_alike_the_faster_one_is_the_first() -> None:
    assert promoted(EQUAL)[0] == ["better", "good"]
    faster = costs(base=(5, 100), good=(4, 100), better=(5, 100))
    assert promoted(faster)[0] == ["good", "better"]
    assert promoted(faster, Promote(baseline="base", top=1))[0] == ["good"]


def test_what_costs_more_is_not_promoted() -> None:
    names, reasons = promoted(costs(base=(5, 100), good=(5.05, 103), better=(6, 100)))
    assert (names, reasons) == ([], {"good": ["3% more memory"], "better": ["20% more latency"]})
    assert promoted(costs(base=(5, 100), good=(5.05, 101), better=(6, 100)))[0] == ["good"]  # within the allowance


def test_nor_what_is_not_known() -> None:
    missing = {**EQUAL, "good": [None, None, None]}
    assert [reason.split(" beside")[0] for reason in promoted(missing)[1]["good"]] == ["no latency", "no memory"]
    elsewhere = {**EQUAL, "good": [Cost("another machine", 1, 1)]}
    assert promoted(elsewhere)[0] == ["better"]
    without_memory = {**EQUAL, "good": [Cost("a machine", 5, None)]}
    assert promoted(without_memory)[1]["good"] == [
        "no memory beside the baseline's on one idle machine (lmeff sweep run --profile)"
    ]


def test_a_gain_that_is_not_certain_promotes_nobody() -> None:
    rule = Promote(baseline="base", gain=0.09)
    names, reasons = promoted(EQUAL, rule)
    assert names == []
    assert reasons["good"][0].startswith("a gain of 9% is not certain (7.")
    one_seed = {name: seeds(one[0]) for name, one in STUDY.items()}
    found = promotion(RULE, one_seed, EQUAL, paired=False, lower_is_better=True)
    assert found["rows"][0]["reasons"] == ["without several seeds nothing says how certain the gain is"]


def test_nobody_is_promoted_while_a_case_or_the_baseline_has_no_result() -> None:
    assert promoted(EQUAL, missing=["late"])[0] == []
    without = {name: one for name, one in STUDY.items() if name != "base"}
    assert promotion(RULE, without, EQUAL, False, True)["why_none"] == "the baseline base has no result"


def test_a_value_without_shares_is_refused() -> None:
    with pytest.raises(InputError, match="base has 0, of which no share can be taken"):
        promotion(RULE, {"base": seeds(0.0, 1.0), "good": seeds(1.0, 1.0)}, EQUAL, False, True)


def test_noise_is_promoted_in_few_studies_and_a_real_gain_in_most() -> None:
    """Six cases of three seeds, whose standard deviation is 1% of the value; the gain in question is 5%."""
    draw = np.random.default_rng(0)
    names = ["base", *"abcde"]
    of_cases = dict.fromkeys(names, EQUAL["base"])

    def num_promoted(gain: float) -> int:
        count = 0
        for _ in range(100):
            means = [10, *[10 * (1 - gain)] * 5]
            study = {name: seeds(*draw.normal(mean, 0.1, 3)) for name, mean in zip(names, means, strict=True)}
            count += bool(promotion(RULE, study, of_cases, False, True)["promoted"])
        return count

    assert num_promoted(0.05) <= 10  # of exactly 5%: by means alone it is nearly all of them
    assert num_promoted(0.0) == 0
    assert num_promoted(0.12) >= 90


def write_profile(case: Case, milliseconds: float, num_bytes: float) -> None:
    profile = {
        "machine": {"device": "cpu", "load_of_others": 0.02},
        "settings": {"repeats": 30},
        "latency": [{"length": 32, "median_ms": milliseconds}],
        "throughput": {"length": 32, "rows": [{"batch_size": 8}, {"batch_size": 1, "peak_bytes": num_bytes}]},
    }
    write_json(case.run.results_of(f"seed-{case.seed}-tokens-20k") / "profile" / "cpu-float32.json", profile)


def test_costs_of_other_settings_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(SWEEP)
    case = read_sweep("s.yaml").cases[0]
    write_profile(case, 5.0, 1000)
    [file] = case.run.results_of("seed-0-tokens-20k").glob("profile/*.json")
    profile = json.loads(file.read_text())

    def cost(**changes: object) -> Cost | None:
        write_json(file, profile | changes)
        return cost_of(case.run, ("seed-0-tokens-20k",))

    machine, throughput = profile["machine"], profile["throughput"]
    usual = cost()
    assert usual is not None
    assert usual == cost(machine=machine | {"load_of_others": 0.01}) == Cost(usual.measured_on, 5.0, 1000)
    others = [
        cost(settings={"repeats": 3}),
        cost(machine=machine | {"device": "cuda"}),
        cost(throughput=throughput | {"length": 128}),
        cost(throughput=throughput | {"rows": [{"batch_size": 8, "peak_bytes": 1000}]}),
    ]
    assert usual.measured_on not in [one.measured_on for one in others if one]
    assert len({one.measured_on for one in others if one}) == 4
    for load in (0.06, None):
        assert not is_idle(profile | {"machine": {"load_of_others": load}})
        assert cost(machine=machine | {"load_of_others": load}) is None
    assert is_idle(profile)


@pytest.mark.medium
def test_in_the_ranking_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(f"{SWEEP}ranking: {{promote: {{baseline: hidden_size-32_slow}}}}\n")
    for case in read_sweep("s.yaml").cases:
        write_run(case, VALUES[case.name][case.seed])
        write_profile(case, 9.0 if case.name == "hidden_size-64_fast" else 5.0, 1000)
    assert main(["sweep", "rank", "s.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["promotion"]
    assert found["promoted"] == ["hidden_size-64_slow"]
    changes = {row["case"]: row["latency_change"] for row in found["rows"]}
    assert changes["hidden_size-64_fast"] == pytest.approx(0.8)
    assert main(["sweep", "rank", "s.yaml"]) == 0
    said = capsys.readouterr().out
    assert "promoted (5% better than hidden_size-32_slow, at no more latency and memory): hidden_size-64_slow\n" in said
    assert "  hidden_size-64_fast: 80% more latency" in said
    assert main(["sweep", "rank", "s.yaml", "--metric", "dev_perplexity", "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["promotion"] is None
    assert other["notes"][-1] == "ranking.promote is by dev_bits_per_byte, so nothing is said of it here"


def test_a_baseline_that_is_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(f"{SWEEP}ranking:\n  promote:\n    baseline: hidden_size-32_slwo\n")
    with pytest.raises(InputError) as error:
        read_sweep("s.yaml")
    assert str(error.value) == (
        "s.yaml:11: ranking.promote.baseline: must be a case, not 'hidden_size-32_slwo'; did you mean 'hidden_size-32_slow'?"
    )
