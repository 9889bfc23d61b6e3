"""Anchor modes: what is kept is what the mode promises, and the trunk is paid once."""

import json
import signal
from pathlib import Path

import numpy as np
import prepared
import pytest
import torch
from launching import (
    curve,
    finish,
    interrupt,
    launch,
    read_lines,
    run_folder,
    start,
    state_of,
    step_of,
    wait_until,
    wait_until_stopped,
    weights,
    workers,
    write_recipe,
)
from transformers import get_scheduler

from lmeff.plan import make_plan
from lmeff.recipe import read_recipe
from lmeff.training.arguments import training_arguments

pytestmark = pytest.mark.slow
THREE = "anchors.tokens=[0,5k,10k,20k]"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def annealed(recipe: Path) -> Path:
    finish(start(None, str(recipe), "name=anneal", THREE, "anchors.mode=anneal"))
    return run_folder(recipe, "anneal")


def anchor(run: Path, name: str) -> dict:
    return json.loads((run / "revisions" / name / "anchor.json").read_text())


def test_a_branch_is_the_finished_model_of_its_length(recipe: Path, annealed: Path) -> None:
    """Trunk and branch together are, bit for bit, one warm-up-stable-decay run to that anchor."""
    words = ("schedule.name=wsd", "schedule.decay=0.2", "anchors.tokens=[20k]")
    finish(start(None, str(recipe), "name=wsd", *words))
    whole = run_folder(recipe, "wsd")
    assert (
        anchor(annealed, "seed-1-tokens-20k")["weights_sha256"] == anchor(whole, "seed-1-tokens-20k")["weights_sha256"]
    )
    parts = curve(annealed / "parts" / "trunk") + curve(annealed / "parts" / "20k")
    assert parts == curve(whole)


def test_parts_anchors_and_leftovers(annealed: Path) -> None:
    assert {name: (anchor(annealed, name)["mode"], anchor(annealed, name)["part"]) for name in weights(annealed)} == {
        "seed-1-tokens-0": ("anneal", "trunk"),
        "seed-1-tokens-5k": ("anneal", "5k"),
        "seed-1-tokens-10k": ("anneal", "10k"),
        "seed-1-tokens-20k": ("anneal", "20k"),
        "seed-1": ("anneal", "20k"),
    }
    assert [anchor(annealed, f"seed-1-tokens-{name}")["step"] for name in ("0", "5k", "10k", "20k")] == [0, 10, 20, 40]
    steps = {
        path.name: [line["step"] for line in read_lines(path / "run.log.jsonl")]
        for path in (annealed / "parts").iterdir()
    }
    assert steps == {
        "trunk": list(range(1, 33)),
        "5k": [9, 10],
        "10k": list(range(17, 21)),
        "20k": list(range(33, 41)),
    }
    kept = {path.name for path in (annealed / "parts" / "trunk" / "checkpoints").iterdir()}
    assert kept == {"step-28", "step-32"}, "the newest two; those kept for branches are gone with the branches"
    assert state_of(annealed)["state"] == "complete"
    assert "nothing to do" in finish(
        start(None, str(annealed.parents[2] / "recipe.yaml"), "name=anneal", THREE, "anchors.mode=anneal")
    )


def test_branches_later_and_by_index(recipe: Path, annealed: Path) -> None:
    """The trunk is stopped on its way; a branch whose beginning is there is trained meanwhile, another one has to wait."""
    words = (str(recipe), "name=later", THREE, "anchors.mode=anneal")
    run = run_folder(recipe, "later")
    manifest = run / "parts" / "trunk" / "checkpoints" / "step-16" / "manifest.json"
    trunk = start(None, *words, "--index", "0", faults=[f"stop_once:{manifest}"])
    wait_until_stopped(trunk)
    interrupt(trunk)
    assert state_of(run / "parts" / "trunk")["state"] == "interrupted"
    early = start(None, *words, "--index", "3")
    said, _ = early.communicate(timeout=60)
    assert early.returncode == 75
    assert "part 20k begins at step 32 of the trunk, which is not there yet" in said
    for index in ("2", "0", "1", "3"):
        finish(start(None, *words, "--index", index))
    assert state_of(run)["state"] == "complete"
    assert weights(run) == weights(annealed)


def test_a_part_that_is_trained_elsewhere(recipe: Path) -> None:
    """The whole run leaves it alone, trains the others, and says what is not done yet."""
    words = (str(recipe), "name=shared", "anchors.tokens=[10k,20k]", "anchors.mode=restart")
    run = run_folder(recipe, "shared")
    other = start(None, *words, "--index", "1", faults=[f"stop_once:{run / 'parts' / '20k' / 'run.log.jsonl'}"])
    wait_until_stopped(other)
    whole = start(None, *words)
    said, _ = whole.communicate(timeout=120)
    assert whole.returncode == 75, said
    assert f"{run}/parts/20k: is being worked on by process {other.pid} on " in said
    assert state_of(run)["state"] == "interrupted"
    assert state_of(run / "parts" / "10k")["state"] == "complete"
    other.send_signal(signal.SIGCONT)
    finish(other)
    assert state_of(run)["state"] == "complete"
    assert "nothing to do" in finish(start(None, *words))


def test_a_change_is_refused_before_the_first_anchor(recipe: Path) -> None:
    """The trunk's checkpoints are work too."""
    words = (str(recipe), "name=changed", "anchors.tokens=[10k,20k]", "anchors.mode=anneal")
    run = run_folder(recipe, "changed")
    process = start(None, *words, faults=[f"stop_once:{run / 'parts' / 'trunk' / 'checkpoints' / 'step-7'}"])
    wait_until_stopped(process)
    interrupt(process)
    process = start(None, *words, "optimizer.learning_rate=1e-3")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "optimizer.learning_rate was 0.003, is now 0.001" in said


def test_restart_trains_every_anchor_from_the_beginning(recipe: Path) -> None:
    words = ("anchors.tokens=[0,10k,20k]", "anchors.mode=restart")
    finish(start(None, str(recipe), "name=restart", *words))
    run = run_folder(recipe, "restart")
    for name in ("10k", "20k"):
        finish(start(None, str(recipe), f"name=alone_{name}", f"anchors.tokens=[{name}]"))
        alone = run_folder(recipe, f"alone_{name}")
        revision = f"seed-1-tokens-{name}"
        assert anchor(run, revision)["weights_sha256"] == anchor(alone, revision)["weights_sha256"]
        assert curve(run / "parts" / name) == curve(alone)
    assert (anchor(run, "seed-1-tokens-10k")["mode"], anchor(run, "seed-1-tokens-10k")["part"]) == ("restart", "10k")
    assert anchor(run, "seed-1")["same_as"] == "seed-1-tokens-20k"


def test_anneal_under_zero(recipe: Path, annealed: Path) -> None:
    """Several engines one after the other in one launch."""
    launch("cpu_zero2", str(recipe), "name=zero", THREE, "anchors.mode=anneal")
    for name in ("5k", "10k", "20k"):
        ours, theirs = (anchor(run, f"seed-1-tokens-{name}") for run in (run_folder(recipe, "zero"), annealed))
        assert ours["dev_loss"] == pytest.approx(theirs["dev_loss"], rel=1e-4)
        assert ours["world_size"] == 2


def test_plan_of_parts(recipe: Path) -> None:
    plan = make_plan(read_recipe(recipe, [THREE, "anchors.mode=anneal"]).recipe)
    assert [(part.name, part.first_step, part.last_step) for part in plan.parts] == [
        ("trunk", 0, 32),
        ("5k", 8, 10),
        ("10k", 16, 20),
        ("20k", 32, 40),
    ]
    assert plan.trained_tokens == 512 * (32 + 2 + 4 + 8)
    assert plan.total_flops == plan.flops_per_token * plan.trained_tokens
    plan = make_plan(read_recipe(recipe, [THREE, "anchors.mode=restart"]).recipe)
    assert plan.trained_tokens == 512 * (10 + 20 + 40)
    assert [anchor.name for anchor in plan.parts[0].anchors] == ["0", "5k"]


def test_until_converged(recipe: Path) -> None:
    """Training ends when the held-out loss has stood still `patience` times; a restart in between counts on."""
    words = (
        str(recipe),
        "name=converged",
        "anchors.tokens=[0,5k]",
        "anchors.until=converged",
        "anchors.max_tokens=60k",
    )
    words = (*words, "anchors.patience=2", "anchors.threshold=0.5", "anchors.patient_after=5k", "anchors.look_every=2k")
    words = (*words, "corpus.epochs=30", "checkpoints.every_steps=1")
    run = run_folder(recipe, "converged")
    process = start(None, *words, faults=[f"stop_once:{run / 'checkpoints' / 'step-17' / 'manifest.json'}"])
    wait_until_stopped(process)
    assert len(read_lines(run / "dev.log.jsonl")) == 2
    interrupt(process)
    assert process.returncode == 75
    finish(start(None, *words))
    looks = read_lines(run / "dev.log.jsonl")
    assert [look["step"] for look in looks] == list(range(12, 12 + 4 * len(looks), 4))
    best, waited = None, []
    for look in looks:
        improved = best is None or look["dev_loss"] < best - 0.5
        best, waited = (look["dev_loss"], [*waited, 0]) if improved else (best, [*waited, waited[-1] + 1])
    assert [look["looks_without_improvement"] for look in looks] == waited
    assert waited[-1] == 2
    final = anchor(run, "seed-1")
    assert (final["step"], final["same_as"]) == (looks[-1]["step"], None)
    assert final["dev_loss"] == pytest.approx(looks[-1]["dev_loss"], rel=1e-9)
    assert final["weights_sha256"] != anchor(run, "seed-1-tokens-5k")["weights_sha256"]
    assert final["exact_tokens"] == final["nominal_tokens"] == 512 * looks[-1]["step"] < 60_000


@pytest.mark.parametrize("name", ["muon", "schedule_free_adamw"])
def test_other_optimizers_resume_exactly(recipe: Path, name: str) -> None:
    finish(start(None, str(recipe), f"name={name}", f"optimizer.name={name}"))
    words = (str(recipe), f"name={name}_stopped", f"optimizer.name={name}")
    run = run_folder(recipe, f"{name}_stopped")
    for step in (12, 24):
        process = start(None, *words)
        wait_until(lambda step=step: step_of(run) >= step, process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finish(start(None, *words))
    whole = run_folder(recipe, name)
    assert curve(run) == curve(whole)
    assert weights(run) == weights(whole)
    assert anchor(whole, "seed-1-tokens-20k")["dev_loss"] < 3.5


def test_muon_is_the_same_under_zero(recipe: Path) -> None:
    """Plain, ZeRO-1, 2, 3 and plain again go on with one another's momentum; the losses are those of one engine."""
    whole, words = run_folder(recipe, "muon"), (str(recipe), "name=muon_moved", "optimizer.name=muon")
    if not (whole / "report.html").exists():
        finish(start(None, str(recipe), "name=muon", "optimizer.name=muon"))
    run = run_folder(recipe, "muon_moved")
    for launcher, step in ((None, 8), ("cpu_zero1", 16), ("cpu_zero2", 24), ("cpu_zero3", 32)):
        process = start(launcher, *words, popen=prepared.Popen)
        wait_until(lambda step=step: step_of(run) >= step, process)
        workers(process)[0].send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finish(start(None, *words))
    assert [line["sequence_ids"] for line in read_lines(run / "samples.jsonl")] == [
        line["sequence_ids"] for line in read_lines(whole / "samples.jsonl")
    ]
    ours, theirs = ([loss for _, loss, *_ in curve(folder)] for folder in (run, whole))
    assert len(ours) == len(theirs) == 40
    # Muon computes in bfloat16, where the order in which processes add up gradients shows.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_schedule_free_is_refused_under_zero(recipe: Path) -> None:
    words = (str(recipe), "name=refused", "optimizer.name=schedule_free_adamw")
    process = start("cpu_zero1", *words, popen=prepared.Popen)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "optimizer.name: 'schedule_free_adamw' does not run under DeepSpeed ZeRO" in said


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        ("cosine", "cosine", {}),
        ("linear", "linear", {}),
        ("constant", "constant_with_warmup", {}),
        ("wsd", "warmup_stable_decay", {"num_decay_steps": 8, "decay_type": "1-sqrt"}),
    ],
)
@pytest.mark.parametrize("warmup", ["5 steps", "2560 tokens", "0.125"])
def test_schedules_are_those_of_transformers(recipe: Path, ours: str, theirs: str, options: dict, warmup: str) -> None:
    words = ["anchors.tokens=[20k]", f"schedule.name={ours}", f"schedule.warmup={warmup}"]
    wanted = read_recipe(recipe, words).recipe
    arguments = training_arguments(wanted, make_plan(wanted).parts[0], recipe.parent, 4, 4)
    assert (arguments.lr_scheduler_type, arguments.lr_scheduler_kwargs) == (theirs, options)
    assert (arguments.get_warmup_steps(40), arguments.max_steps) == (5, 40)


def test_the_rate_of_every_step(annealed: Path) -> None:
    """As transformers computes it, over trunk and branch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    schedule = get_scheduler("warmup_stable_decay", optimizer, 5, 40, {"num_decay_steps": 8, "decay_type": "1-sqrt"})
    wanted = []
    for _ in range(40):
        wanted.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    parts = curve(annealed / "parts" / "trunk") + curve(annealed / "parts" / "20k")
    assert [line[3] for line in parts] == pytest.approx(wanted, rel=1e-12)
