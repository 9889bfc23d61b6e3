"""Real runs on packed, masked and cut sequences: the same losses however the step is divided, and after a restart."""

import json
from pathlib import Path

import numpy as np
import pytest
from launching import (
    curve,
    finish,
    kill,
    launch,
    read_lines,
    run_folder,
    start,
    step_of,
    wait_until_stopped,
    weights,
    write_recipe,
)
from tokens.numbered_tokens import write_tokens

from lmeff.cli import main
from lmeff.objectives import CausalObjective, LossPositions
from lmeff.probes.probe_run import prepared_tokens, probe_trainer
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import BOS_ID, PermutationOrder
from lmeff.training.data.loader import StepBatches
from lmeff.training.data.sequences import MicroBatch, TrainSequences

WORDS = (
    "batch.packing=best_fit",
    "batch.document_mask=true",
    "batch.sequence_lengths={0: 8, 5k: 16, 10_000: 32}",
    "anchors.tokens=[0, 12k, 20k]",
)
LENGTHS = [5, 2, 14, 9, 3, 21, 7, 11, 2, 30, 6, 16, 4]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("sequences"))


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    finish(start(None, str(recipe), "name=whole", *WORDS, "batch.micro=16"))
    return run_folder(recipe, "whole")


def log_of(run: Path) -> list[tuple]:
    return [(line["step"], line["num_loss_tokens"]) for line in read_lines(run / "run.log.jsonl")]


def assert_same_losses(ours: Path, wanted: Path, rel: float) -> None:
    assert log_of(ours) == log_of(wanted)
    for one, other in zip(curve(ours), curve(wanted), strict=True):
        assert one == pytest.approx(other, rel=rel)


def test_lengths_change_at_their_steps() -> None:
    batch = Batch(tokens=128, sequence_length=16, sequence_lengths={"0": 4, "129": 8, "1k": 16})
    assert batch.length_stages() == [(0, 4), (2, 8), (8, 16)]
    order = PermutationOrder(50, 0, batch.clock)
    found = list(StepBatches(order, batch.length_stages(), 2, 1, 2, num_steps=12, first_step=lambda: 5))
    assert [one.length for one in found] == [8] * 2 * 3 + [16] * 2 * 4


def test_pieces_know_their_sequence_and_their_place_in_the_step(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, LENGTHS)
    data = TrainSequences(tokens, Batch(tokens=64, sequence_length=16), CausalObjective())
    pieces = data.pieces(MicroBatch([5, 2], 4, step=7, first_slot=6))
    assert pieces.sequence_ids.tolist() == [5] * 4 + [2] * 4
    assert (pieces.step, list(pieces.slots)) == (7, list(range(24, 32)))
    assert pieces.input_ids.reshape(2, 16).tolist() == tokens.train.blocks(np.array([5, 2]), 16).tolist()
    assert pieces.begins.sum() == (pieces.begins | (pieces.input_ids == BOS_ID)).sum() >= 8


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("lengths", [None, {"0": 4, "200": 8, "2k": 16}])
def test_positions_with_a_loss_are_counted_from_the_step(
    tmp_path: Path, packing: str, mask: bool, lengths: dict[str, int] | None
) -> None:
    """Through several epochs; asked step by step, once at the end, and going back."""
    tokens = write_tokens(tmp_path, LENGTHS)
    batch = Batch(tokens=64, sequence_length=16, packing=packing, document_mask=mask, sequence_lengths=lengths)
    objective = CausalObjective()
    data = TrainSequences(tokens, batch, objective)
    order = PermutationOrder(len(data), 3, batch.clock)
    wanted = [0]
    for step in range(40):
        length = [length for first, length in batch.length_stages() if first <= step][-1]
        found = data.__getitems__(MicroBatch(order.sequences(step).tolist(), length, step, 0))
        labels = found["targets"]["labels"]
        assert int(objective.num_labeled(found["targets"])) == int((labels != -100).sum())
        wanted.append(wanted[-1] + int((labels != -100).sum()))
    going = LossPositions(objective, tokens, batch, order)
    assert [going.after(step) for step in range(41)] == wanted
    assert LossPositions(objective, tokens, batch, PermutationOrder(len(data), 3, batch.clock)).after(40) == wanted[40]
    assert going.after(7) == wanted[7]


@pytest.mark.parametrize("mask", [False, True])
def test_positions_are_counted_on_from_a_checkpoint(tmp_path: Path, mask: bool) -> None:
    """What came before it was counted under another recipe."""
    tokens = write_tokens(tmp_path, LENGTHS)
    batch = Batch(tokens=64, sequence_length=16, document_mask=mask)
    whole, rest = (
        LossPositions(CausalObjective(), tokens, batch, PermutationOrder(8, 3, batch.clock)) for _ in range(2)
    )
    rest.go_on_from(7, 1_000)
    assert [rest.after(step) for step in (7, 20, 9)] == [
        1_000 + whole.after(step) - whole.after(7) for step in (7, 20, 9)
    ]


@pytest.mark.slow
def test_positions_before_an_accepted_change_stay_counted(recipe: Path) -> None:
    run = run_folder(recipe, "masked_later")
    words = (str(recipe), "name=masked_later", "batch.micro=16")
    process = start(None, *words, faults=[f"stop_once:{run / 'checkpoints' / 'step-14' / 'manifest.json'}"])
    wait_until_stopped(process)
    kill(process)
    before = dict(log_of(run))
    step = max(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    state = json.loads((run / "checkpoints" / f"step-{step}" / "lmeff.json").read_text())
    assert state["num_loss_tokens"] == before[step] == 16 * 31 * step
    finish(start(None, *words, "batch.document_mask=true", "--accept-changes"))
    log = dict(log_of(run))
    assert all(log[index] == before[index] for index in range(1, step + 1))
    assert all(0 < log[index + 1] - log[index] < 16 * 31 for index in range(step, 40))
    anchor = json.loads((run / "revisions" / "seed-1" / "anchor.json").read_text())
    assert anchor["num_loss_tokens"] == log[40]


@pytest.mark.slow
def test_the_run_is_what_its_recipe_says(whole: Path) -> None:
    log = read_lines(whole / "run.log.jsonl")
    assert [line["tokens"] for line in log] == [512 * step for step in range(1, 41)]
    packing = next((whole.parents[2] / "data").glob("*/tokens/*/packing/best_fit-32.v1"))
    num_sequences = json.loads((packing / "manifest.json").read_text())["num_sequences"]
    for name, step in (("12k", 24), ("20k", 40)):
        anchor = json.loads((whole / "revisions" / f"seed-1-tokens-{name}" / "anchor.json").read_text())
        assert anchor["epoch"] == pytest.approx(step * 16 / num_sequences)
        assert anchor["loss"] == pytest.approx(log[step - 1]["loss"], rel=1e-6)
    assert log[-1]["epoch"] == pytest.approx(40 * 16 / num_sequences, abs=1e-6)
    assert np.diff([0] + [line["num_loss_tokens"] for line in log]).max() < 512
    assert log[-1]["loss"] < log[0]["loss"] - 1


@pytest.mark.slow
def test_its_models_have_the_recorded_losses(whole: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(whole), "--local"]) == 0
    assert "3 models load and have the held-out loss that was recorded" in capsys.readouterr().out
    card = (whole / "revisions" / "seed-1" / "README.md").read_text()
    assert "sequences of 32; documents packed by best fit, with padding; documents do not see each other" in card
    assert f"\n| tokens with a loss so far | {log_of(whole)[-1][1]:,} |\n| optimizer |" in card


@pytest.mark.slow
def test_prepare_packs_as_a_run_does(recipe: Path, whole: Path, capsys: pytest.CaptureFixture) -> None:
    folder = next((whole.parents[2] / "data").glob("*/tokens/*/packing/best_fit-32.v1"))
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert main(["prepare", str(recipe), *WORDS]) == 0
    packed = json.loads((folder / "manifest.json").read_text())
    assert f"{packed['num_pieces']:,} pieces in {packed['num_sequences']:,} sequences of 32" in capsys.readouterr().out
    assert (folder / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_probes_step_is_the_runs(recipe: Path, whole: Path) -> None:
    wanted, seen = curve(whole), []
    settings = read_recipe(recipe, [*WORDS, "batch.micro=16"]).recipe
    with probe_trainer(settings, prepared_tokens(settings), 24) as trainer:
        trainer.run(lambda step: wanted[step][3], lambda look: seen.append(look) or True)
    assert [(look.step + 1, look.loss, look.grad_norm) for look in seen] == [line[:3] for line in wanted[:24]]


@pytest.mark.slow
def test_accumulation_computes_the_same(recipe: Path, whole: Path) -> None:
    """With dropout, whose masks belong to the pieces' places in the step."""
    finish(start(None, str(recipe), "name=accumulated", *WORDS, "batch.micro=1"))
    assert_same_losses(run_folder(recipe, "accumulated"), whole, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["cpu_ddp", "cpu_zero2"])
def test_two_processes_compute_the_same(recipe: Path, whole: Path, launcher: str) -> None:
    launch(launcher, str(recipe), f"name={launcher}", *WORDS, "batch.micro=4")
    assert_same_losses(run_folder(recipe, launcher), whole, rel=1e-5)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(recipe: Path, whole: Path) -> None:
    """It is killed before each change of length, which are at steps 10 and 20."""
    run, words = run_folder(recipe, "killed"), (str(recipe), "name=killed", *WORDS, "batch.micro=16")
    for step in (7, 14):
        manifest = run / "checkpoints" / f"step-{step}" / "manifest.json"
        process = start(None, *words, faults=[f"stop_once:{manifest}"])
        wait_until_stopped(process)
        kill(process)
        assert step_of(run) < 40
    assert "going on from" in finish(start(None, *words))
    assert (curve(run), log_of(run), weights(run)) == (curve(whole), log_of(whole), weights(whole))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "word", "said", "is_fixed"),
    [
        (0, "batch.packing=concatenate", "batch.packing was best_fit, is now concatenate", True),
        (1, "batch.document_mask=false", "batch.document_mask was True, is now False", False),
        (2, "batch.sequence_lengths={0: 16, 10k: 32}", "batch.sequence_lengths.0 was 8, is now 16", True),
    ],
)
def test_a_run_does_not_change_its_sequences(
    recipe: Path, whole: Path, index: int, word: str, said: str, is_fixed: bool
) -> None:
    words = [*WORDS[:index], word, *WORDS[index + 1 :]]
    for more in ((), ("--accept-changes",)) if is_fixed else ((),):
        process = start(None, str(recipe), "name=whole", *words, "batch.micro=16", *more)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 2, output
        assert said in output
        assert "Traceback" not in output


@pytest.mark.slow
def test_too_many_passes_are_refused_with_padding_counted(recipe: Path, whole: Path) -> None:
    """The text has enough tokens for so many steps without the padding that best fit leaves, not with it."""
    packing = next((whole.parents[2] / "data").glob("*/tokens/*/packing/best_fit-32.v1"))
    positions = json.loads((packing / "manifest.json").read_text())["num_sequences"] * 32
    # The anchor's step ends at or after it.
    words = (f"anchors.tokens=[{positions}]", "corpus.epochs=0.9", *WORDS[:2], "schedule.warmup=1 steps")
    process = start(None, str(recipe), "name=passes", *words)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert f"passes over the {positions:,} packed positions of training text" in output


def test_a_recipe_without_the_new_keys_is_plain(recipe: Path) -> None:
    assert read_recipe(recipe).recipe.batch.is_plain
