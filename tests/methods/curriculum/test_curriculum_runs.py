"""Runs with a curriculum: killed and gone on with to the same bits, on two processes, in branches, and none at all."""

import json
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import prepared
import pytest
from launching import ROOT, curve, ended, environment, read_lines, run_folder, start, weights, write_recipe
from training.in_turn import run_in_turn

from lmeff.formats.checkpoint import read_own_state
from lmeff.methods.curriculum import method, scoring
from lmeff.methods.curriculum.method import Curriculum
from lmeff.methods.curriculum.order import DecidedStages, _from_text
from lmeff.methods.curriculum.pacing import PacingCallback
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe
from lmeff.training.trainer import LmeffTrainer

OWN_LOSS = [
    "curriculum.protocol=iterative",
    "curriculum.order=own_loss",
    "curriculum.start=0.3",
    "curriculum.step=0.3",
    "curriculum.pacing=share",
]
"""Stages begin at steps 7, 14 and 20 of 40; checkpoints are made every 7 steps."""
PLATEAU = [
    "curriculum.protocol=iterative",
    "curriculum.order=sentence_length",
    "curriculum.start=0.4",
    "curriculum.step=0.2",
    "curriculum.look_every=1024",
    "curriculum.threshold=9",
    "curriculum.patience=2",
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("curriculum"))


def run(recipe: Path, name: str, words: Sequence[str]) -> Path:
    assert run_in_turn([[str(recipe), f"name={name}", *words]]) == [0]
    return run_folder(recipe, name)


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    return run(recipe, "whole", OWN_LOSS)


def sequences(folder: Path) -> list[list[int]]:
    return [line["sequence_ids"] for line in read_lines(folder / "samples.jsonl")]


def stages(folder: Path) -> list[tuple[int, int]]:
    return [(line["step"], line["stage"]) for line in read_lines(folder / "curriculum.jsonl")]


@pytest.mark.slow
def test_stages_begin_where_the_share_says(whole: Path) -> None:
    lines = read_lines(whole / "curriculum.jsonl")
    assert stages(whole) == [(0, 0), (7, 1), (14, 2), (20, 3)]
    assert [line["share"] for line in lines] == [0.3, 0.6, 0.9, 1.0]
    seen = [line["num_documents_seen"] for line in lines]
    assert seen[0] == 0
    assert seen[1] <= lines[0]["num_documents"] < lines[1]["num_documents"]
    assert seen == sorted(seen)
    anchors = [json.loads(path.read_text()) for path in sorted(whole.glob("revisions/seed-1-*/anchor.json"))]
    of_step = {anchor["step"]: anchor["flops_scoring"] for anchor in anchors}
    # One scoring at step 7, three by the end; each is of the same documents in the same windows.
    assert of_step[0] == 0 < of_step[10]
    assert of_step[40] == 3 * of_step[10]
    assert json.loads((whole / "plan.json").read_text())["flops_scoring"] == of_step[40]


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [14, 18])
def test_a_killed_run_goes_on_to_the_same_bits(
    recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Inside a stage; and at its end, when documents are scored and no checkpoint has it yet."""
    name = f"killed_{killed_at}"
    with monkeypatch.context() as patched:
        if killed_at == 14:
            begin = DecidedStages.begin

            def fail(order: DecidedStages, stage: object) -> None:
                begin(order, stage)
                if stage.first_step == 14:
                    raise RuntimeError("killed between scoring and its checkpoint")

            patched.setattr(DecidedStages, "begin", fail)
        else:
            step_end = PacingCallback.on_step_end

            def fail_within(callback: PacingCallback, args, state, control, **more) -> None:
                if state.global_step == 18:
                    raise RuntimeError("killed inside a stage")
                step_end(callback, args, state, control, **more)

            patched.setattr(PacingCallback, "on_step_end", fail_within)
        assert run_in_turn([[str(recipe), f"name={name}", *OWN_LOSS]]) == [1]
    killed, counted = run_folder(recipe, name), []
    assert (killed / "checkpoints" / ("step-7" if killed_at == 14 else "step-14")).is_dir()
    assert not (killed / "checkpoints" / f"step-{killed_at}").exists()
    score_batch = scoring._score_batch
    monkeypatch.setattr(scoring, "_score_batch", lambda *given: [counted.append(1), score_batch(*given)][1])
    run(recipe, name, OWN_LOSS)
    assert (curve(killed), weights(killed)) == (curve(whole), weights(whole))
    assert sequences(killed) == sequences(whole)
    lines = [(folder / "curriculum.jsonl").read_text() for folder in (killed, whole)]
    assert lines[0] == lines[1]
    # The stage that was scored before the kill is not scored again: one scoring is left.
    lengths = prepared_tokens(read_recipe(recipe).recipe).train_documents[:, 0]
    assert len(counted) == len(scoring.Windows.of(np.asarray(lengths), 32).batches())


@pytest.mark.slow
def test_a_run_that_is_killed_while_documents_are_scored_goes_on(
    recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGKILL in step 14, when the second part of the scores is written."""
    words = [str(recipe), "name=killed_in_scoring", *OWN_LOSS]
    lengths = np.asarray(prepared_tokens(read_recipe(recipe).recipe).train_documents[:, 0])
    num_batches = len(scoring.Windows.of(lengths, 32).batches())
    # Each part is opened and renamed; the stage of step 7 was scored before.
    faults = ["keep_often", f"kill_at_write:{2 * (num_batches + 2)}:*curriculum.scores.npz*"]
    code, said = ended(start(None, *words, faults=faults))
    assert code == -signal.SIGKILL, said
    killed, counted = run_folder(recipe, "killed_in_scoring"), []
    assert not (killed / "checkpoints" / "step-14").exists()
    score_batch = scoring._score_batch
    monkeypatch.setattr(scoring, "_score_batch", lambda *given: [counted.append(1), score_batch(*given)][1])
    run(recipe, "killed_in_scoring", OWN_LOSS)
    assert (curve(killed), weights(killed), sequences(killed)) == (curve(whole), weights(whole), sequences(whole))
    assert (killed / "curriculum.jsonl").read_text() == (whole / "curriculum.jsonl").read_text()
    assert len(counted) == 2 * num_batches - 1, "what was kept is not scored again"


@pytest.mark.slow
def test_all_from_the_start_is_full_repeated_and_no_curriculum(recipe: Path) -> None:
    plain = run(recipe, "plain", [])
    repeated = run(recipe, "repeated", ["curriculum.protocol=full_repeated"])
    all_words = ["curriculum.protocol=iterative", "curriculum.order=own_loss", "curriculum.start=1"]
    iterative = run(recipe, "iterative", all_words)
    for other in (repeated, iterative):
        assert (curve(other), weights(other)) == (curve(plain), weights(plain))
        assert sequences(other) == sequences(plain)


@pytest.fixture(scope="module")
def plateau(recipe: Path) -> Path:
    return run(recipe, "plateau", PLATEAU)


@pytest.mark.slow
def test_a_plateau_ends_a_stage(recipe: Path, plateau: Path) -> None:
    """Whatever the threshold calls no improvement."""
    lines = read_lines(plateau / "curriculum.jsonl")
    # The first look of a stage is the best so far; two more are none, at every second step.
    assert [(line["step"], line["stage"]) for line in lines if line["stage"]] == [
        (6, 1), (8, 1), (10, 1), (12, 2), (14, 2), (16, 2), (18, 3)
    ]  # fmt: skip
    losses = [line["dev_loss"] for line in lines[1:]]
    assert losses[-1] < losses[0]
    # Nobody looks any more when all is read; a look reads as many positions as the windows have.
    anchor, plan = (json.loads((plateau / name).read_text()) for name in ("revisions/seed-1/anchor.json", "plan.json"))
    assert anchor["flops_scoring"] * 20 == pytest.approx(plan["flops_scoring"] * 9)
    faulty = run(recipe, "plateau_faulty", [*PLATEAU, "curriculum.faults=[best_of_all_stages]"])
    assert [step for step, stage in stages(faulty) if stage][::2] == [6, 10, 14]


@pytest.mark.slow
def test_a_plateau_is_waited_for_over_restarts(recipe: Path, plateau: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the first checkpoint, and within the looks of a stage: what was seen before step 14 counts."""
    step_end = PacingCallback.on_step_end
    for killed_at in (3, 17):

        def fail(callback: PacingCallback, args, state, control, killed_at=killed_at, **more) -> None:
            if state.global_step == killed_at:
                raise RuntimeError("killed")
            step_end(callback, args, state, control, **more)

        with monkeypatch.context() as patched:
            patched.setattr(PacingCallback, "on_step_end", fail)
            assert run_in_turn([[str(recipe), "name=plateau_killed", *PLATEAU]]) == [1]
    killed = run_folder(recipe, "plateau_killed")
    assert (killed / "checkpoints" / "step-14").is_dir()
    run(recipe, "plateau_killed", PLATEAU)
    assert (killed / "curriculum.jsonl").read_text() == (plateau / "curriculum.jsonl").read_text()
    assert (curve(killed), weights(killed), sequences(killed)) == (curve(plateau), weights(plateau), sequences(plateau))


def documents_of_stages(run: Path) -> list[set[int]]:
    """Of the last checkpoint."""
    state = read_own_state(run / "checkpoints" / "step-40")["states"]["order"]["own"]
    everything = range(state["num_documents"])
    return [set(everything if one["documents"] is None else _from_text(one["documents"])) for one in state["stages"]]


@pytest.mark.slow
def test_an_extended_selection_keeps_what_was_read(recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And scoring is no training: its clock stands still."""
    own_losses, score_windows, clock = Curriculum._own_losses, method.score_windows, []

    def scored(curriculum: Curriculum, trainer: LmeffTrainer, *given: object) -> np.ndarray:
        def timed(*arguments: object) -> np.ndarray:
            before = trainer.train_seconds
            found = score_windows(*arguments)
            clock.append(trainer.train_seconds - before)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(method, "score_windows", timed)
            return own_losses(curriculum, trainer, *given)

    monkeypatch.setattr(Curriculum, "_own_losses", scored)
    kept = documents_of_stages(run(recipe, "extended", [*OWN_LOSS, "curriculum.selection=extended"]))
    assert clock == [0.0] * 3
    anew = documents_of_stages(whole)
    assert [len(stages) for stages in (kept, anew)] == [4, 4]
    assert kept[0] == anew[0]
    assert all(before < after for before, after in pairwise(kept))
    assert not anew[0] < anew[1]


@pytest.mark.slow
def test_branches_go_on_with_the_stages_of_the_trunk(recipe: Path) -> None:
    words = [*OWN_LOSS[:2], "curriculum.pacing=share", "curriculum.start=0.2", "curriculum.step=0.1"]
    words += ["anchors.mode=anneal", "schedule.name=wsd", "anchors.tokens=[10k,20k]"]
    folder = run(recipe, "anneal", words)
    trunk, branches = sequences(folder / "parts" / "trunk"), {}
    for name in ("10k", "20k"):
        lines = read_lines(folder / "parts" / name / "samples.jsonl")
        branches[name] = {line["step"]: line["sequence_ids"] for line in lines}
    plan = json.loads((folder / "plan.json").read_text())
    for part in plan["parts"][1:]:
        first = part["first_step"] + 1
        assert min(branches[part["name"]]) == first
        if first <= len(trunk):
            assert branches[part["name"]][first] == trunk[first - 1]
    begun = {name: stages(folder / "parts" / name) for name in ("trunk", "10k", "20k")}
    assert [step for step, _ in begun["trunk"]] == [0, 3, 5, 8, 10, 13, 15, 18, 20]
    # A branch that has left begins stages by itself, but none with its end, step 20, after which nothing is read.
    assert (begun["10k"], begun["20k"]) == ([(18, 7)], [])
    stage_of = {step: {one >> 40 for one in ids} for step, ids in branches["10k"].items()}
    assert stage_of == {17: {7}, 18: {7}, 19: {8}, 20: {8}}
    # Scored were six stages before the branch left and its own, eight in the trunk, and nine in all.
    anchors = [
        json.loads((folder / f"revisions/seed-1-tokens-{name}/anchor.json").read_text()) for name in ("10k", "20k")
    ]
    once = anchors[0]["flops_scoring"] / 7
    assert (anchors[1]["flops_scoring"], plan["flops_scoring"]) == pytest.approx((8 * once, 9 * once))


@pytest.mark.slow
def test_a_distilled_run_by_the_loss_of_a_reference(recipe: Path, whole: Path) -> None:
    """Both are the final model of another run. The reference is asked once for all runs on the text."""
    model = whole / "revisions" / "seed-1"
    words = [*OWN_LOSS, "curriculum.order=reference_loss", f"curriculum.reference={model}"]
    folder = run(recipe, "distilled", [*words, f"distillation.teachers=[{model}]"])
    anchor = json.loads((folder / "revisions" / "seed-1" / "anchor.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    assert anchor["flops_teachers"] == plan["flops_teachers"] == anchor["flops"] / 3
    text = read_recipe(recipe).recipe
    windows = scoring.Windows.of(np.asarray(prepared_tokens(text).train_documents[:, 0]), 32)
    per_token = plan["flops_per_token"] / 3
    assert anchor["flops_scoring"] == sum(rows.size * shape for shape, rows in windows.batches()) * per_token
    assert plan["flops_scoring"] == anchor["flops_scoring"]
    assert stages(folder) == stages(whole)
    again = run(recipe, "again", [*words, "seed=2"])
    other_seed = again.with_name("seed-2")
    kept = list((recipe.parent / "data").glob("*/tokens/*/scores/reference_loss-*.npz"))
    assert len(kept) == 1
    lines = [read_lines(one / "curriculum.jsonl")[0]["num_documents"] for one in (folder, other_seed)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_two_processes_read_the_same(recipe: Path, whole: Path, tmp_path: Path) -> None:
    launches = tmp_path / "launches.json"
    launches.write_text(json.dumps([[str(recipe), "name=two", *OWN_LOSS]]))
    command = ["-m", "accelerate.commands.launch", "--quiet", "--config_file", "launchers/cpu_ddp.yaml"]
    ended = prepared.run(
        [sys.executable, *command, str(ROOT / "tests" / "training" / "in_turn.py"), str(launches)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    two = run_folder(recipe, "two")
    assert sequences(two) == sequences(whole)
    assert stages(two) == stages(whole)
    for one, other in zip(curve(two), curve(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
