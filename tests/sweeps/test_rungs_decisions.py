"""What must hold of decisions at rungs whatever comes when: with several seeds, runs that fail, and values that are missing."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from analysis.fake_runs import write_json
from sweeps.study import RECIPE
from sweeps.written_runs import write_anchor, write_state

from lmeff.cli.main import main
from lmeff.errors import InputError
from lmeff.sweeps.cases import Case, Sweep, read_sweep
from lmeff.sweeps.local import run_cases
from lmeff.sweeps.ranking.section import Halving, Kill, Margin, Median
from lmeff.sweeps.rungs.at_anchors import CaseRungs
from lmeff.sweeps.rungs.of_sweep import SweepRungs
from lmeff.sweeps.rungs.rules import Decisions, decide
from lmeff.sweeps.rungs.waiting import WaitingAtRungs

ANCHORS = [1000, 2000, 3000, 5000, 8000]
RUNGS = [2000, 5000, 8000]
NAMES = [f"case-{index}" for index in range(6)]
RULES = Kill(
    at_tokens=RUNGS, margin=Margin(by=0.9, than="case-5", for_tokens=1000), median=Median(), halving=Halving(keep=0.7)
)


class Runs:
    """Of six cases with three seeds. Some fail: each after so many anchors, at none where it is 0."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        runs = [(name, number) for name in NAMES for number in range(3)]
        self.curves = {run: [round(draw.uniform(1, 2) + 1000 / at, 1) for at in ANCHORS] for run in runs}
        self.num_anchors = {run: draw.randrange(len(ANCHORS)) if draw.random() < 0.2 else len(ANCHORS) for run in runs}
        self.seen = dict.fromkeys(runs, 0)
        self.failed: set[tuple[str, int]] = set()
        events = [run for run in runs for _ in range(self.num_anchors[run] + 1)]
        draw.shuffle(events)
        self.events = events

    def happen(self, run: tuple[str, int]) -> None:
        """The run comes to its next anchor, or fails where it does not."""
        if self.seen[run] < self.num_anchors[run]:
            self.seen[run] += 1
        elif self.num_anchors[run] < len(ANCHORS):
            self.failed.add(run)

    def value(self, name: str, at: int) -> float | None:
        place = ANCHORS.index(at)
        values = [self.curves[name, number][place] for number in range(3) if self.seen[name, number] > place]
        return fmean(values) if len(values) == 3 else None

    def has_failed(self, name: str, at: int) -> bool:
        place = ANCHORS.index(at)
        return any((name, number) in self.failed and self.seen[name, number] <= place for number in range(3))

    def decide(self) -> Decisions:
        return decide(NAMES, ANCHORS, RUNGS, RULES, self.value, self.has_failed, never={"case-5"})


@pytest.mark.parametrize("seed", range(60))
def test_neither_the_order_of_seeds_nor_of_failures_decides_anything(seed: int) -> None:
    runs, logged = Runs(seed), list[Any]()
    for run in runs.events:
        runs.happen(run)
        now = runs.decide()
        assert list(now.rungs[: len(logged)]) == logged  # what was decided stays as it was
        logged = list(now.rungs)
    assert now.open_tokens is None


def test_rules_together_leave_the_best_case() -> None:
    """Of all that stay behind their own past, one is kept by halving, and the median would end that one."""
    values = {"a": [0.60, 0.50], "b": [0.60, 0.50], "c": [0.60, 0.50], "d": [0.51, 0.52]}
    rules = Kill(at_tokens=[2000], halving=Halving(keep=0.25), median=Median())
    found = decide(
        list(values), [1000, 2000], [2000], rules, lambda case, at: values[case][at // 1000 - 1], lower_is_better=False
    )
    assert set(found.killed) == {"a", "b", "c"}


@pytest.mark.parametrize("late", [None, 0.1])
def test_a_case_that_is_left_out_counts_for_nothing(late: float | None) -> None:
    """One seed of it has failed after the first anchor, to which another one comes sooner or later."""
    values = {"a": (1.0, 1.0), "b": (1.2, 1.2), "c": (1.3, 1.3), "x": (late, None)}
    found = decide(
        list(values),
        [3000, 5000],
        [5000],
        Kill(at_tokens=[5000], median=Median()),
        lambda case, at: values[case][at == 5000],
        lambda case, at: (case, at) == ("x", 5000),
    )
    assert (list(found.killed), found.rungs[0].left_out) == (["c"], ("x",))


@pytest.mark.parametrize("seed", range(20))
def test_the_best_at_a_rung_goes_on(seed: int) -> None:
    runs = Runs(seed)
    for run in runs.events:
        runs.happen(run)
    for rung in runs.decide().rungs:
        if rung.values:
            assert min(rung.values, key=rung.values.__getitem__) not in rung.killed


def test_where_all_have_failed_nothing_is_decided() -> None:
    found = decide(["a", "b"], [1000], [1000], RULES, lambda case, at: None, lambda case, at: True)
    assert (found.killed, found.open_tokens, found.rungs[0].left_out) == ({}, None, ("a", "b"))


# ---- on the files of a sweep whose cases are compared by a task


BY_TASK = """sweep: study
recipe: base.yaml
axes:
  optimizer.learning_rate: [1e-3, 2e-3, 3e-3, 4e-3]
ranking: {metric: lmeff_blimp, rungs: prefix, kill: {at_tokens: [5k], halving: {keep: 0.5}}}
"""


@pytest.fixture
def by_task(folder: Path) -> Sweep:
    """Four cases that have come to 5k tokens, and have no scores yet."""
    recipe = RECIPE.replace("[0, 5k, 20k]", "[0, 2k, 5k, 20k]") + "evaluation: {tasks: [lmeff_blimp]}\n"
    Path("base.yaml").write_text(recipe)
    Path("s.yaml").write_text(BY_TASK)
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_anchor(case, tokens=2000)
        write_anchor(case)
    return sweep


def write_score(case: Case, value: float, higher_is_better: dict[str, bool], tokens: str = "5k") -> None:
    name = "lmeff_blimp"
    result = {"results": {name: {"alias": name, "acc,none": value}}, "configs": {}, "versions": {}}
    result |= {"n-samples": {name: {"original": 9, "effective": 9}}, "higher_is_better": {name: higher_is_better}}
    write_json(case.run.results_of(f"seed-{case.seed}-tokens-{tokens}") / f"{name}.json", result)


def rates(sweep: Sweep) -> list[float]:
    """Of the cases that end, sorted."""
    killed = SweepRungs(sweep).decide().killed
    return sorted(case.recipe.optimizer.learning_rate for case in sweep.cases if case.name in killed)


@pytest.mark.parametrize(("higher", "killed"), [(True, [1e-3, 2e-3]), (False, [3e-3, 4e-3])])
def test_which_way_is_better_is_known_from_any_result(by_task: Sweep, higher: bool, killed: list[float]) -> None:
    """Also where the first anchor has none."""
    for place, case in enumerate(by_task.cases):
        write_score(case, 0.5 + place / 10, {"acc": higher})
    assert rates(by_task) == killed
    for case in by_task.cases:
        write_score(case, 0.5, {"acc": higher}, "2k")
    assert rates(by_task) == killed


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([{}, {}, {}, {}], "its results do not say whether higher or lower is better"),
        (
            [{"acc": True}, {"acc": False}, {"acc": True}, {"acc": True}],
            "some of its results say that higher is better, and",
        ),
    ],
)
def test_without_a_way_nobody_ends_and_it_is_one_line(
    by_task: Sweep, capsys: pytest.CaptureFixture[str], told: list[dict[str, bool]], said: str
) -> None:
    for case, one in zip(by_task.cases, told, strict=True):
        write_score(case, 0.5 + case.index / 10, one)
        write_state(case, "interrupted")
    with pytest.raises(InputError) as error:
        SweepRungs(by_task).decide()
    assert str(error.value).startswith(f"ranking.metric lmeff_blimp: {said}")
    assert main(["sweep", "list", "s.yaml", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["state"] for one in listed["cases"]} == {"interrupted"}
    assert listed["notes"] == [f"no case is killed: {error.value}"]
    assert main(["sweep", "list", "s.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == listed["notes"][0]


def test_a_case_without_its_score_waits_for_nobody(by_task: Sweep) -> None:
    """It was stopped while it was scored: it is what the others wait for, and is begun again."""
    *others, last = by_task.cases
    for case in others:
        write_score(case, 0.5, {"acc": True})
    rungs = SweepRungs(by_task)
    assert rungs.decide().missing == (last.name,)
    waiting = WaitingAtRungs(rungs)
    waiting.look(has_changed=True)
    assert [waiting.holds(case) for case in by_task.cases] == [True, True, True, False]
    assert [waiting.waits_for(case) for case in by_task.cases] == [False, False, False, True]
    assert CaseRungs(rungs, last, pauses=True).reason_to_stop() is None
    assert CaseRungs(rungs, others[0], pauses=True).reason_to_stop() is not None


# ---- on the files of a sweep whose cases are compared by held-out text


BY_TEXT = """sweep: study
recipe: base.yaml
seeds: [0, 1]
axes:
  optimizer.learning_rate: [1e-3, 2e-3, 3e-3]
ranking:
  rungs: prefix
  kill: {at_tokens: [5k], halving: {keep: 0.5}}
  promote: {baseline: learning_rate-0.001}
"""


@pytest.fixture
def by_text(folder: Path) -> Sweep:
    Path("s.yaml").write_text(BY_TEXT)
    return read_sweep("s.yaml")


def test_what_fails_after_a_rung_is_counted_there(by_text: Sweep) -> None:
    """Its other seed is waited for; what fails before is not."""
    first = next(case for case in by_text.cases if case.name == "learning_rate-0.003")
    other = next(case for case in by_text.cases if case.name == first.name and case != first)
    for case in by_text.cases:
        if case != other:
            write_anchor(case, case.index)
    rungs = SweepRungs(by_text)
    write_state(first, "failed")
    assert rungs.decide().missing == (first.name,)
    write_state(other, "failed")
    found = rungs.decide()
    assert (found.rungs[0].left_out, list(found.killed)) == ((first.name,), ["learning_rate-0.002"])


def test_words_choose_what_is_run_and_not_who_is_compared(by_text: Sweep) -> None:
    for case in by_text.cases:
        write_anchor(case, case.index)
    whole = SweepRungs(by_text).decide()
    assert set(whole.killed) == {"learning_rate-0.003"}
    for words in (["seed=0"], ["optimizer.learning_rate=[2e-3,3e-3]"], ["optimizer.learning_rate=3e-3", "seed=1"]):
        part = read_sweep("s.yaml", words)
        assert len(part.cases) < len(by_text.cases) == len(part.compared)
        assert SweepRungs(part).decide() == whole
        assert SweepRungs(part).log == SweepRungs(by_text).log
        assert not part.not_compared
    other = read_sweep("s.yaml", ["optimizer.learning_rate=[2e-3,9e-3]", "seed=[1,7]"])
    assert [str(case) for case in other.not_compared] == [
        "learning_rate-0.009, seed 1",
        "learning_rate-0.002, seed 7",
        "learning_rate-0.009, seed 7",
    ]
    Path("s.yaml").write_text(BY_TEXT.replace("learning_rate-0.001", "learning_rate-0.1"))
    with pytest.raises(
        InputError, match=r"s.yaml:9: ranking.promote.baseline: must be a case, not 'learning_rate-0.1'"
    ):
        read_sweep("s.yaml", ["seed=0"])


def test_only_at_one_anchor_must_losses_be_over_the_same_number_of_tokens(folder: Path) -> None:
    """After a rung at 2k tokens `evaluation.dev_tokens` changes, which is accepted for the two cases that are left."""
    Path("base.yaml").write_text(RECIPE.replace("[0, 5k, 20k]", "[0, 2k, 5k, 20k]"))
    Path("s.yaml").write_text(BY_TEXT.replace("[5k]", "[2k, 5k]").replace("seeds: [0, 1]", "seeds: [0]"))
    sweep = read_sweep("s.yaml")
    for case in sweep.cases:
        write_anchor(case, case.index, 2000, dev_tokens=5000)
    for case in sweep.cases[:2]:
        write_anchor(case, case.index, dev_tokens=9000)
    decided = SweepRungs(sweep).decide()
    assert [list(rung.values) for rung in decided.rungs] == [[case.name for case in sweep.cases[:n]] for n in (3, 2)]
    write_anchor(sweep.cases[1], 1, dev_tokens=5000)
    with pytest.raises(
        InputError, match=r"over other numbers of held-out tokens: 9,000 .* and 5,000 .*-5k\); it cannot"
    ):
        SweepRungs(sweep).decide()


def test_a_run_says_in_its_own_folder_alone_why_it_ends(by_text: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    for case in by_text.cases:
        write_anchor(case, case.index % 3)
    rungs = SweepRungs(by_text)
    ending = [case for case in by_text.cases if case.name == "learning_rate-0.003"]
    staying = by_text.cases[0]
    staying.run.killed_json.write_text("{")  # of other values, and damaged
    rungs.update(ending[0])
    assert [case.run.killed_json.is_file() for case in (*ending, staying)] == [True, False, True]
    rungs.update()
    assert [case.run.killed_json.is_file() for case in (*ending, staying)] == [True, True, False]
    ending[1].run.killed_json.unlink()
    ending[1].run.killed_json.mkdir()  # it cannot be written
    said = str(CaseRungs(rungs, ending[1], pauses=True).reason_to_stop())
    assert said.startswith("learning_rate-0.003, seed 1: killed at 5k tokens by halving")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("what the rules of study decide is not written: ")


@pytest.mark.medium
def test_a_failed_case_that_is_tried_again_loses_no_other(folder: Path) -> None:
    """Without it the second of three is killed, with it the third; and meanwhile the first one pauses, beyond the rung."""
    Path("s.yaml").write_text(BY_TEXT.replace("seeds: [0, 1]", "seeds: [0]"))
    sweep = read_sweep("s.yaml")
    first, second, retried = sweep.cases
    for case, value in ((first, 1.0), (second, 2.0)):
        write_anchor(case, value)
        write_state(case, "interrupted")
    write_anchor(retried, 9.0)
    there = retried.run.revision("seed-0-tokens-5k")
    there.rename("ready")
    write_state(retried, "failed", step=0)
    assert list(SweepRungs(sweep).decide().killed) == [second.name]
    for case in sweep.cases:  # what a run of it writes as its state
        for state, step in (("running", 10), ("interrupted", 20), ("complete", 40)):
            before = case.run.state_json.read_text()
            write_state(case, state, step)
            case.run.state_json.rename(f"{state}-{case.index}")
            case.run.state_json.write_text(before)

    def command(case: Case) -> list[str]:
        write = f"cp {{0}}-{case.index} '{case.run.state_json}'"
        end = write.format("complete")
        if case == first:  # pauses at its first start, when the third one is running
            end = f"if [ -e paused ]; then {end}; else touch paused; sleep 0.3; {write.format('interrupted')}; exit 75; fi"
        if case == retried:
            steps = (write.format("running"), "sleep 1", f"mv ready '{there}'", write.format("interrupted"), "exit 75")
            end = "; ".join(steps)
        return ["sh", "-c", end]

    progress = run_cases(sweep.cases, command, 2, lambda progress: None, rungs=SweepRungs(sweep))
    assert progress.outcomes == {first.index: "complete", second.index: "complete", retried.index: "killed"}
    assert list(progress.why) == [retried.index]
