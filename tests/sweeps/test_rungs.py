"""Rules that end cases early: each against a literal loop, then on the files of a sweep and in its commands."""

import json
import math
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from analysis.fake_runs import anchor_document, write_json
from launching import launch_in_turn, read_lines, weights, write_recipe
from sweeps.study import RECIPE, SWEEP
from sweeps.written_runs import write_anchor, write_state

from lmeff.cli.main import main
from lmeff.command_line import read_arguments, read_command
from lmeff.command_line.__main__ import print_state
from lmeff.errors import InputError
from lmeff.measures.scores.following import follow_run
from lmeff.runs.signals import Interrupted, Killed
from lmeff.runs.status import read_status
from lmeff.sweeps.cases import Case, Sweep, read_sweep
from lmeff.sweeps.local import run_cases
from lmeff.sweeps.ranking.section import Halving, Kill, Margin, Median
from lmeff.sweeps.rungs.at_anchors import CaseRungs
from lmeff.sweeps.rungs.costs import num_left
from lmeff.sweeps.rungs.of_sweep import SweepRungs
from lmeff.sweeps.rungs.rules import by_halving, by_margin, by_median, decide
from lmeff.sweeps.table import LiveTable

ANCHORS = [1000, 2000, 3000, 5000, 8000]


def curves(seed: int, num_cases: int = 6) -> dict[str, dict[int, float]]:
    """Falling values, some of which are equal."""
    draw = random.Random(seed)
    return {
        f"case-{index}": {tokens: round(draw.uniform(1, 2) + 1000 / tokens, 1) for tokens in ANCHORS}
        for index in range(num_cases)
    }


def value_at(values: dict[str, dict[int, float]], case: str, at: int) -> float:
    return values[case][at]


def history(values: dict[str, dict[int, float]], last: int) -> list[tuple[int, dict[str, float]]]:
    return [(at, {case: curve[at] for case, curve in values.items()}) for at in ANCHORS if at <= last]


# ---- every rule against a loop that says the same in other words


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(20))
def test_margin(seed: int, sign: int) -> None:
    values = curves(seed)
    for than in ("best", "case-2"):
        for for_tokens in (0, 1500, 4000):
            expected = set()
            for case, curve in values.items():
                streak = []
                for at in ANCHORS:
                    others = [one[at] for one in values.values()]
                    reference = (min(others) if sign > 0 else max(others)) if than == "best" else values[than][at]
                    behind = (curve[at] - reference) * sign
                    streak = [*streak, at] if behind >= 0.4 else []
                if streak and ANCHORS[-1] - streak[0] >= for_tokens:
                    expected.add(case)
            rule = Margin(by=0.4, than=than, for_tokens=for_tokens)
            assert set(by_margin(ANCHORS[-1], history(values, ANCHORS[-1]), rule, sign)) == expected


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(20))
def test_median(seed: int, sign: int) -> None:
    values = curves(seed, 5)
    means = sorted(sum(curve.values()) / len(ANCHORS) for curve in values.values())
    best = {case: min(curve.values()) if sign > 0 else max(curve.values()) for case, curve in values.items()}
    expected = {case for case, value in best.items() if (value > means[2] if sign > 0 else value < means[2])}
    assert set(by_median(8000, history(values, 8000), sign)) == expected


def test_median_counts_a_case_that_has_ended_with_what_it_had() -> None:
    before = [(1000, {"a": 9.0, "b": 1.0, "c": 2.0}), (2000, {"b": 1.0, "c": 2.0})]
    assert not by_median(2000, before)  # of 9, 1 and 2 the median is 2, and c's best is no worse
    assert set(by_median(2000, [(1000, {"b": 1.0, "c": 2.0}), (2000, {"b": 1.0, "c": 2.0})])) == {"c"}


@pytest.mark.parametrize(("keep", "num_kept"), [(0.5, 3), (1 / 3, 2), (0.4, 3), (0.01, 1), (0.99, 6)])
def test_halving(keep: float, num_kept: int) -> None:
    values = {"f": 3.0, "a": 1.0, "e": 2.0, "b": 2.0, "d": 5.0, "c": 2.0}
    in_order = ["a", "e", "b", "c", "f", "d"]  # equal ones as they stand in the sweep
    assert set(by_halving(1, values, Halving(keep=keep))) == set(in_order[num_kept:])
    assert set(by_halving(1, values, Halving(keep=keep), -1)) == set(["d", "f", "e", "b", "c", "a"][num_kept:])


# ---- from rung to rung


RULES = Kill(at_tokens=[1000, 3000], halving=Halving(keep=0.5), margin=Margin(by=0.4, than="case-5", for_tokens=1000))


@pytest.mark.parametrize("seed", range(10))
def test_the_order_in_which_values_come_decides_nothing(seed: int) -> None:
    values = curves(seed)
    at_last = decide(list(values), ANCHORS, [1000, 3000], RULES, lambda case, at: values[case][at], never={"case-5"})
    assert [rung.tokens for rung in at_last.rungs] == [1000, 3000]
    assert "case-5" not in at_last.killed  # the one that others are compared with
    arrivals = [(case, at) for case in values for at in ANCHORS]
    random.Random(seed).shuffle(arrivals)
    there: dict[str, dict[int, float]] = {case: {} for case in values}
    seen: set[str] = set()
    for case, at in arrivals:
        there[case][at] = values[case][at]
        now = decide(list(values), ANCHORS, [1000, 3000], RULES, lambda case, at: there[case].get(at), never={"case-5"})
        assert seen <= set(now.killed) <= set(at_last.killed)
        seen = set(now.killed)
        assert now.open_tokens in (1000, 3000, None)
    assert now == at_last


def test_nobody_waits_for_a_case_that_failed() -> None:
    values = {"a": 1.0, "b": 2.0, "c": None}
    rules = Kill(at_tokens=[1000], halving=Halving())
    waiting = decide(list(values), [1000], [1000], rules, lambda case, at: values[case])
    assert (waiting.open_tokens, waiting.missing, waiting.killed) == (1000, ("c",), {})
    decided = decide(list(values), [1000], [1000], rules, lambda case, at: values[case], lambda case, at: case == "c")
    assert (list(decided.killed), decided.rungs[0].left_out) == (["b"], ("c",))


def test_no_case_ends_before_after_tokens() -> None:
    values = {"a": 1.0, "b": 2.0}
    rules = Kill(after_tokens=2000, margin=Margin(by=0.5))
    decided = decide(list(values), ANCHORS, ANCHORS, rules, lambda case, at: values[case])
    assert decided.killed["b"].tokens == 2000


def test_at_least_one_case_stays_with_all_rules() -> None:
    rules = Kill(at_tokens=ANCHORS, margin=Margin(by=0.01), median=Median(), halving=Halving(keep=0.1))
    for values in map(curves, range(20)):
        killed = decide(list(values), ANCHORS, ANCHORS, rules, partial(value_at, values)).killed
        assert 0 < len(killed) < len(values)


# ---- a sweep's file


KILLING = SWEEP.replace("few: {corpus.synthetic.num_documents: 100}", "few: {optimizer.learning_rate: 1e-3}").replace(
    "many: {corpus.synthetic.num_documents: 200, corpus.epochs: 2}", "many: {optimizer.learning_rate: 3e-3}"
)
RANKING = "ranking: {rungs: prefix, kill: {at_tokens: [5k], halving: {keep: 0.5}}}\n"


@pytest.mark.parametrize(
    ("ranking", "said"),
    [
        ("halving", "s.yaml:9: ranking: must be a section with keys under it, not 'halving'"),
        ("{metrik: x}", "s.yaml:9: ranking.metrik: unknown key; did you mean 'metric'?"),
        ("{metric: dev_bits}", "s.yaml:9: ranking.metric: must be dev_bits_per_byte,"),
        ("{rungs: prefixes}", "s.yaml:9: ranking.rungs: must be 'prefix' or 'own_schedule', not 'prefixes'; did you"),
        (
            "{rungs: own_schedule}",
            "s.yaml:9: ranking.rungs: own_schedule: are the ends of runs with schedules of their",
        ),
        ("{kill: {median: {}}}", "s.yaml:9: ranking.kill: needs ranking.rungs"),
        ("{rungs: prefix, kill: {}}", "s.yaml:9: ranking.kill: needs a rule: margin, median or halving"),
        ("{rungs: prefix, kill: {halving: {}}}", "s.yaml:9: ranking.kill.halving: needs kill.at_tokens"),
        ("{rungs: prefix, kill: {margin: {}}}", "s.yaml:9: ranking.kill.margin.by: missing"),
        ("{rungs: prefix, kill: {margin: {by: -1}}}", "s.yaml:9: ranking.kill.margin.by: must be above 0, not -1"),
        (
            "{rungs: prefix, kill: {margin: {by: 1, than: hidden_size-32_fw}}}",
            "s.yaml:9: ranking.kill.margin.than: must be best or a case, not 'hidden_size-32_fw'; did you mean"
            " 'hidden_size-32_few'?",
        ),
        (
            "{rungs: prefix, kill: {at_tokens: [20k], median: {}}}",
            "s.yaml:9: ranking.kill.at_tokens: 20k is no anchor above 0 and before the last; those are 5k",
        ),
        (
            "{rungs: prefix, kill: {after_tokens: 6k, median: {}}}",
            "s.yaml:9: ranking.kill.after_tokens: leaves no anchor before the last",
        ),
        (
            "{rungs: prefix, kill: {margin: {by: 1, for_tokens: 100M}}}",
            "s.yaml:9: ranking.kill.margin.for_tokens: 100M is longer than from the first anchor, 5k, to the last rung, 5k,",
        ),
        (
            "{metric: dev_masked_loss, rungs: prefix, kill: {median: {}}}",
            "s.yaml:9: ranking.metric: dev_masked_loss is not taken of a causal model, but dev_bits_per_byte",
        ),
        (
            "{metric: lmeff_blimp, rungs: prefix, kill: {median: {}}}",
            "s.yaml:9: ranking.metric: 'lmeff_blimp' is not taken at anchors, where cases end by it",
        ),
    ],
)
def test_a_mistake_is_one_line(folder: Path, ranking: str, said: str) -> None:
    Path("s.yaml").write_text(f"{KILLING}ranking: {ranking}\n")
    with pytest.raises(InputError) as error:
        read_sweep("s.yaml")
    assert len(error.value.mistakes) == 1
    assert str(error.value).startswith(said)


def test_cases_that_cannot_be_compared_are_told_before_they_start(folder: Path) -> None:
    Path("s.yaml").write_text(SWEEP + RANKING)
    with pytest.raises(InputError, match=r"dev_bits_per_byte of .* cannot be compared at rungs, with other corpora"):
        read_sweep("s.yaml")
    perplexity = RANKING.replace("{rungs", "{metric: dev_perplexity, rungs")
    text = KILLING.replace("model.hidden_size: [32, 64]", "tokenizer.vocab_size: [400, 500]")
    Path("s.yaml").write_text(text + perplexity)
    with pytest.raises(InputError, match="with other tokenizers; bits per byte can"):
        read_sweep("s.yaml")
    Path("s.yaml").write_text(text + RANKING)
    assert read_sweep("s.yaml").ranking.kill is not None


@pytest.mark.parametrize(
    ("axis", "metric", "said"),
    [
        ("batch.document_mask: [true, false]", "dev_perplexity", "with other batch.document_mask; a task's can"),
        ("evaluation.dev_tokens: [1k, 2k]", "dev_bits_per_byte", "with other evaluation.dev_tokens; a task's can"),
        ("evaluation.limit: [10, 20]", "lmeff_blimp", "with other evaluation.limit"),
        (
            "way: {one: {objective.name: hybrid, evaluation.scoring: pseudo_log_likelihood}, two: {objective.name: hybrid}}",
            "lmeff_blimp",
            "with other evaluation.scoring",
        ),
        ("evaluation.precision: [float32, adaptive]", "lmeff_blimp", None),
        ("evaluation.scoring: [auto, causal]", "lmeff_blimp", None),
    ],
)
def test_rules_take_no_values_that_the_ranking_would_refuse(
    folder: Path, axis: str, metric: str, said: str | None
) -> None:
    Path("base.yaml").write_text(RECIPE + "evaluation: {tasks: [lmeff_blimp]}\n")
    ranking = RANKING.replace("{rungs", f"{{metric: {metric}, rungs")
    Path("s.yaml").write_text(f"sweep: study\nrecipe: base.yaml\naxes:\n  {axis}\n{ranking}")
    if said is None:
        assert read_sweep("s.yaml").ranking.kill is not None
        return
    with pytest.raises(
        InputError, match=f"s.yaml:5: ranking.metric: {metric} of .* cannot be compared at rungs, {said}$"
    ):
        read_sweep("s.yaml")


def test_where_nobody_may_end_nobody_waits(folder: Path) -> None:
    Path("base.yaml").write_text(RECIPE.replace("[0, 5k, 20k]", "[0, 2k, 5k, 20k]"))
    ranking = RANKING.replace("at_tokens: [5k]", "at_tokens: [2k, 5k], after_tokens: 3k")
    Path("s.yaml").write_text(KILLING + ranking)
    assert SweepRungs(read_sweep("s.yaml")).tokens == [5000]


# ---- what it costs


def plan_of(file: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["plan", file, "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(("rungs", "mode"), [("prefix", "snapshot"), ("own_schedule", "restart")])
def test_the_plan_counts_what_cases_compute_that_end_early(
    folder: Path, capsys: pytest.CaptureFixture[str], rungs: str, mode: str
) -> None:
    """Of four cases of two seeds, two of each width; the dear ones or the cheap ones may be those that go on."""
    words = [f"anchors.mode={mode}", "anchors.tokens=[5k,10k,20k]"]
    Path("s.yaml").write_text(
        f"{KILLING}ranking: {{rungs: {rungs}, kill: {{at_tokens: [5k, 10k], halving: {{keep: 0.5}}}}}}\n"
    )
    plan = plan_of("s.yaml", capsys, *words)
    assert plan["rungs"] == [
        {"tokens": 5000, "fewest_cases": 2, "most_cases": 2},
        {"tokens": 10_000, "fewest_cases": 1, "most_cases": 1},
    ]
    steps = [math.ceil(tokens / 512) for tokens in (5000, 10_000, 20_000)]
    lengths = [steps[0], steps[1] - steps[0], steps[2] - steps[1]] if mode == "snapshot" else steps
    narrow, wide = (one["plan"]["flops_per_token"] * 512 for one in (plan["cases"][0], plan["cases"][2]))
    to_first = 2 * (2 * narrow + 2 * wide) * lengths[0]
    assert plan["least_flops"] == pytest.approx(to_first + 2 * narrow * (2 * lengths[1] + lengths[2]))
    assert plan["most_flops"] == pytest.approx(to_first + 2 * wide * (2 * lengths[1] + lengths[2]))
    assert plan["most_flops"] < plan["total_flops"] == 4 * (narrow + wide) * sum(lengths)
    assert main(["plan", "s.yaml", *words]) == 0
    assert "FLOPs where cases end early; so many go on: 2 from 5k, 1 from 10k tokens\n" in capsys.readouterr().out


def test_rules_without_a_number_end_none_at_the_least_and_all_but_one_at_the_most() -> None:
    margin = Kill(after_tokens=2000, margin=Margin(by=1))
    assert num_left(margin, [1000, 2000], 8, 0) == [(8, 8), (1, 8)]
    both = Kill(at_tokens=[1000, 2000], median=Median(), halving=Halving(keep=0.5))
    assert num_left(both, [1000, 2000], 8, 2) == [(2, 6), (2, 5)]
    assert num_left(Kill(at_tokens=[1000], halving=Halving(keep=0.1)), [1000], 8, 2) == [(2, 3)]


# ---- files of runs, written by hand


@pytest.fixture
def sweep(folder: Path) -> Sweep:
    """Four cases of two seeds, with a rung at 5k tokens."""
    Path("s.yaml").write_text(KILLING + RANKING)
    return read_sweep("s.yaml")


def write_interrupted(case: Case, value: float) -> None:
    """A run that came to 5k tokens."""
    write_anchor(case, value)
    write_state(case, "interrupted")


def test_seeds_of_a_case_end_together_by_their_mean(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"hidden_size-32_few": [1, 8], "hidden_size-32_many": [3, 3], "hidden_size-64_few": [2, 2]}
    values["hidden_size-64_many"] = [9, 1]
    for case in sweep.cases[:-1]:
        write_interrupted(case, values[case.name][case.seed])
    rungs = SweepRungs(sweep)
    assert rungs.decide().missing == ("hidden_size-64_many",)
    paused = CaseRungs(rungs, sweep.cases[0], pauses=True).reason_to_stop()
    assert isinstance(paused, Interrupted)
    assert str(paused).endswith("paused at 5k tokens, where hidden_size-64_many must come first")
    assert CaseRungs(rungs, sweep.cases[0], pauses=False).reason_to_stop() is None

    write_interrupted(sweep.cases[-1], 1)
    assert isinstance(CaseRungs(rungs, sweep.cases[0], pauses=True).reason_to_stop(), Killed)
    CaseRungs(rungs, sweep.cases[1], pauses=True).check()
    [line] = map(json.loads, rungs.log.read_text().splitlines())
    assert line["values"] == {name: sum(two) / 2 for name, two in values.items()}
    assert set(line["killed"]) == {"hidden_size-32_few", "hidden_size-64_many"}
    assert line["killed"]["hidden_size-32_few"]["last_kept"] == 3

    main(["sweep", "list", "s.yaml", "--json"])
    states = [(one["name"], one["state"]) for one in json.loads(capsys.readouterr().out)["cases"]]
    assert {state for name, state in states if name in line["killed"]} == {"killed"}
    assert {state for name, state in states if name not in line["killed"]} == {"interrupted"}
    main(["sweep", "list", "s.yaml"])
    said = "killed at 5k tokens by halving: 4.5 is place 3 of 4, of which the best 2 go on, the last with 3"
    assert f"hidden_size-32_few: {said}" in capsys.readouterr().out
    status = read_status(sweep.cases[0].run.path)
    assert (status.shown, status.error) == ("killed", said)


def test_what_follows_is_from_the_files_alone(sweep: Sweep) -> None:
    """Other values decide anew, which is logged as well."""
    for place, case in enumerate(sweep.cases):
        write_interrupted(case, place % 4)
    rungs = SweepRungs(sweep)
    rungs.update()
    rungs.update()
    assert len(rungs.log.read_text().splitlines()) == 1
    last = next(case for case in sweep.cases if case.name == "hidden_size-64_many")
    assert last.run.killed_json.is_file()
    for case in sweep.cases:
        write_interrupted(case, -(case.index % 4))
    rungs.update()
    assert len(rungs.log.read_text().splitlines()) == 2
    assert not last.run.killed_json.is_file()


def test_an_evaluation_beside_a_killed_run_ends(sweep: Sweep) -> None:
    for case in sweep.cases:
        write_interrupted(case, case.index % 4)
    rungs = SweepRungs(sweep)
    rungs.update()
    assert list(follow_run(sweep.cases[3].run.path, poll_seconds=60)) == []


def test_for_slurm_a_killed_case_has_a_state_and_a_reason(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in sweep.cases:
        write_interrupted(case, case.index % 4)
    monkeypatch.setattr(sys, "argv", ["lmeff.command_line", "s.yaml", "--index", "3"])
    assert print_state(read_command) == 0
    assert capsys.readouterr().out == "killed 10 0\n"
    assert main(["train", "s.yaml", "--index", "3"]) == 0
    assert "hidden_size-64_many, seed 0: killed at 5k tokens by halving" in capsys.readouterr().err


def test_a_run_of_a_file_without_rules_forgets_that_it_was_killed(sweep: Sweep) -> None:
    note = sweep.cases[3].run.killed_json
    write_json(note, {"format": 1, "reason": "killed"})
    Path("s.yaml").write_text(KILLING)
    assert read_command(["s.yaml", "--index", "3"]).rungs is None
    assert note.exists()
    read_arguments(["s.yaml", "--index", "3"])
    assert not note.exists()


def test_values_that_cannot_be_compared_end_the_command_and_no_case(folder: Path) -> None:
    Path("s.yaml").write_text(KILLING + RANKING)
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_interrupted(case, 1)
        path = case.run.revision(f"seed-{case.seed}-tokens-5k") / "anchor.json"
        write_json(path, json.loads(path.read_text()) | {"dev_bits_per_byte": None})
    with pytest.raises(InputError, match="has no dev_bits_per_byte, by which cases are compared"):
        run_cases(sweep.cases, lambda case: ["true"], 1, lambda progress: None, rungs=SweepRungs(sweep))
    assert CaseRungs(SweepRungs(sweep), sweep.cases[0], pauses=True).reason_to_stop() is None


def test_across_vocabularies_all_of_the_held_out_text_is_compared(folder: Path) -> None:
    """A sample of so many tokens would be more of the text to the larger vocabulary."""
    Path("base.yaml").write_text(RECIPE + "evaluation: {dev_tokens: 3000}\n")
    Path("s.yaml").write_text(
        KILLING.replace("model.hidden_size: [32, 64]", "tokenizer.vocab_size: [400, 500]") + RANKING
    )
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_interrupted(case, case.index % 4)
        num_tokens = 3300 if case.recipe.tokenizer.vocab_size == 400 else 2900
        provenance = {"format": 1, "tokens": {"splits": {"dev": {"num_tokens": num_tokens}}}}
        write_json(case.run.revision(f"seed-{case.seed}-tokens-5k") / "provenance.json", provenance)
    said = (
        "vocab_size-400_few, seed 0: of 3,300 held-out tokens, 3,000 are taken; with several vocabularies that is not"
    )
    with pytest.raises(InputError, match=f"^{said} the same text for all, so take all"):
        SweepRungs(sweep).decide()
    decided = SweepRungs(read_sweep("s.yaml", ["evaluation.dev_tokens=3300"])).decide()
    assert list(decided.killed) == ["vocab_size-500_few", "vocab_size-500_many"]


# ---- running all cases of a sweep


def stand_in(case: Case, value: float) -> list[str]:
    """For `lmeff train --pause-at-rungs`: comes to the rung at its first start, and to its end at the second."""
    ready = Path(f"ready-{case.index}").absolute()
    document = anchor_document(case.seed, 5, 0.0) | {"dev_bits_per_byte": value, "dev_loss": value}
    write_json(ready / "anchor.json", document)
    there, state = case.run.revision(f"seed-{case.seed}-tokens-5k"), case.run.state_json
    write_state(case, "complete")
    complete = state.read_text().replace("\n", " ")
    state.unlink()
    script = f"""
        echo x >> '{case.run.path}/starts'
        if [ -d '{there}' ]; then echo '{complete}' > '{state}'; exit 0; fi
        mkdir -p '{there}'; cp '{ready}/anchor.json' '{there}'; exit 75
    """
    return ["sh", "-c", script]


def num_starts(case: Case) -> int:
    path = case.run.path / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.medium
@pytest.mark.parametrize("jobs", [1, 3])
def test_cases_wait_for_each_other_and_those_that_are_killed_are_not_begun_again(sweep: Sweep, jobs: int) -> None:
    values = {case.index: float(case.index % 4) for case in sweep.cases}
    commands = {case.index: stand_in(case, values[case.index]) for case in sweep.cases}
    said: list[str] = []
    table = LiveTable(sweep, said.append, is_terminal=False)
    progress = run_cases(sweep.cases, lambda case: commands[case.index], jobs, table, rungs=SweepRungs(sweep))
    assert progress.outcomes == {case.index: "killed" if values[case.index] > 1 else "complete" for case in sweep.cases}
    assert {num_starts(case) for case in sweep.cases if values[case.index] > 1} == {1}
    assert progress.why[3].startswith("killed at 5k tokens by halving: 3 is place 4 of 4")
    assert "  case 3 (hidden_size-64_many, seed 0): killed at 5k tokens by halving: 3 is" in "".join(said)
    again = run_cases(sweep.cases, lambda case: ["false"], jobs, lambda progress: None, rungs=SweepRungs(sweep))
    assert again.outcomes == progress.outcomes


@pytest.mark.medium
def test_nobody_waits_for_a_run_that_fails(sweep: Sweep) -> None:
    """With a state that says so, the others go on without it; a run that cannot even write one holds them up, which is said."""
    commands = {case.index: stand_in(case, float(case.index % 4)) for case in sweep.cases}
    commands[0] = ["false"]
    progress = run_cases(
        sweep.cases, lambda case: commands[case.index], 4, lambda progress: None, rungs=SweepRungs(sweep)
    )
    assert (progress.outcomes, progress.paused) == ({0: "failed"}, "at 5k tokens for hidden_size-32_few")
    assert {num_starts(case) for case in sweep.cases[1:]} == {1}
    write_state(sweep.cases[0], "failed")
    progress = run_cases(
        sweep.cases[1:], lambda case: commands[case.index], 4, lambda progress: None, rungs=SweepRungs(sweep)
    )
    assert sorted(index for index, outcome in progress.outcomes.items() if outcome == "complete") == [1, 2, 4, 5, 6]


# ---- the real thing

STORY_SWEEP = """sweep: {name}
recipe: recipe.yaml
axes:
  optimizer.learning_rate: [3e-3, 1e-5, 1e-3]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "rungs", "mode"), [("cpu_ddp", "prefix", "snapshot"), ("cpu", "own_schedule", "restart")]
)
def test_survivors_are_bit_for_bit_what_they_are_without_kills(
    tmp_path: Path, launcher: str, rungs: str, mode: str
) -> None:
    """Those that come first pause at the rung, and go on when the last has come. Of two processes both stop."""
    write_recipe(tmp_path)
    words = [f"anchors.mode={mode}", "anchors.tokens=[0,2k,5k]", "schedule.warmup=2 steps"]
    free, killing = tmp_path / "free.yaml", tmp_path / "killing.yaml"
    ranking = f"ranking: {{rungs: {rungs}, kill: {{at_tokens: [2k], halving: {{keep: 0.6}}}}}}\n"
    free.write_text(STORY_SWEEP.format(name=free.stem))
    killing.write_text(STORY_SWEEP.format(name=killing.stem) + ranking)
    first = [[str(killing), *words, "--index", index, "--pause-at-rungs"] for index in "012"]
    lines = [*([str(free), *words, "--index", index] for index in "02"), *first, *first]
    codes, said = launch_in_turn(launcher, tmp_path / "launches.json", lines)
    assert codes == [0, 0, 75, 75, 0, 0, 0, 0], said
    sweep, others = (read_sweep(str(file), words) for file in (killing, free))
    runs, undisturbed = ([case.run.path for case in one.cases] for one in (sweep, others))
    assert [weights(run).get("seed-1") is not None for run in runs] == [True, False, True]
    assert [weights(run) for run in runs[::2]] == [weights(run) for run in undisturbed[::2]]
    [line] = read_lines(SweepRungs(sweep).log)
    assert list(line["killed"]) == [sweep.cases[1].name]
    assert read_status(runs[1]).shown == "killed"
    assert f"{sweep.cases[1]}: killed at 2k tokens by halving:" in said
