"""Learning methods: two over each other in a real run, which is killed and goes on to the same bits."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import prepared
import pytest
from launching import ROOT, curve, environment, read_lines, run_folder, weights, write_recipe
from training.toy_methods import Toy

from lmeff.clock import Clock
from lmeff.objectives import CausalObjective
from lmeff.probes.probe_run import prepared_tokens
from lmeff.recipe import read_recipe
from lmeff.tokens import PermutationOrder, WrappedOrder
from lmeff.training.method import Method


def run(recipe: Path, *words: str, launcher: str | None = None, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable]
    if launcher:
        command += ["-m", "accelerate.commands.launch", "--quiet", "--config_file", f"launchers/{launcher}.yaml"]
    return prepared.run(
        [*command, "-m", "tests.training.toy_methods", str(recipe), *words],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    ended = run(recipe, "name=whole")
    assert ended.returncode == 0, ended.stderr
    return run_folder(recipe, "whole")


def sums(run: Path) -> list[dict]:
    return [json.loads((run / f"sum {number}.json").read_text()) for number in (3, 5)]


def test_no_method_changes_nothing() -> None:
    objective, order = CausalObjective(), PermutationOrder(10, 0, Clock(8, 2))
    assert (Method().wrap_objective(objective), Method().wrap_order(order)) == (objective, order)
    assert (Method().callbacks(None), Method().flops(7)) == ((), {})


def test_orders_fold() -> None:
    order = PermutationOrder(10, 0, Clock(16, 2))
    folded = Toy(5).wrap_order(Toy(3).wrap_order(order))
    step = order.sequences(4)
    assert folded.sequences(4).tolist() == np.roll(np.roll(step[::-1], 3)[::-1], 5).tolist() != step.tolist()
    assert len({one.fingerprint for one in (order, folded, Toy(3).wrap_order(order))}) == 3
    assert folded.total(np.arange(10), 0, 5) == order.total(np.arange(10), 0, 5)


def test_states_fold() -> None:
    class Stage(WrappedOrder):
        stage = 0

        def own_state(self) -> dict:
            return {"stage": self.stage}

        def load_own_state(self, saved: dict) -> None:
            self.stage = saved["stage"]

    def stages() -> Stage:
        return Stage(Toy(3).wrap_order(Stage(PermutationOrder(10, 0, Clock(8, 2)))))

    saved, fresh = stages(), stages()
    saved.stage, saved.inner.inner.stage = 7, 4
    fresh.load_state(saved.state())
    assert (fresh.stage, fresh.inner.inner.stage) == (7, 4)
    assert PermutationOrder(10, 0, Clock(8, 2)).state() == {}
    with pytest.raises(ValueError, match="keeps no state, and the checkpoint has own"):
        PermutationOrder(10, 0, Clock(8, 2)).load_state(stages().state())


@pytest.mark.slow
def test_two_methods_change_loss_and_order(recipe: Path, whole: Path) -> None:
    read = [line["sequence_ids"] for line in read_lines(whole / "samples.jsonl")]
    stream = prepared_tokens(read_recipe(recipe).recipe).train
    num_sequences = stream.num_tokens // 32
    folded = Toy(5).wrap_order(Toy(3).wrap_order(PermutationOrder(num_sequences, 1, Clock(512, 32))))
    assert read == [folded.sequences(step).tolist() for step in range(40)]
    log = read_lines(whole / "run.log.jsonl")
    assert 5 < log[0]["loss"] < 6.5, "the log shows the plain cross-entropy"
    assert log[-1]["loss"] < log[0]["loss"] - 1
    labels = stream.blocks(np.array(read[0]), 32)[:, 1:]
    for found, number in zip(sums(whole), (3, 5), strict=True):
        # At first all tokens are about equally unlikely.
        assert found["first"] == pytest.approx((labels % number == 0).mean() * log[0]["loss"], rel=0.03)
        assert found["num_steps"] == 40
        assert found["first"] < found["total"] < 40 * found["first"]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(recipe: Path, whole: Path) -> None:
    ended = run(recipe, "name=killed", KILL_AT_STEP="17")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    ours = run_folder(recipe, "killed")
    assert not (ours / "sum 3.json").exists()
    plain = prepared.run(
        [sys.executable, "-m", "lmeff.run", str(recipe), "name=killed"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert plain.returncode == 2
    assert "the order of sequences was" in plain.stderr
    assert "Traceback" not in plain.stderr
    ended = run(recipe, "name=killed")
    assert ended.returncode == 0, ended.stderr
    assert (curve(ours), weights(ours), sums(ours)) == (curve(whole), weights(whole), sums(whole))


@pytest.mark.slow
def test_two_processes_compute_the_same(recipe: Path, whole: Path) -> None:
    ended = run(recipe, "name=two", launcher="cpu_ddp")
    assert ended.returncode == 0, ended.stderr
    ours = run_folder(recipe, "two")
    for one, other in zip(curve(ours), curve(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for one, other in zip(sums(ours), sums(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
