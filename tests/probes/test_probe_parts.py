"""What probes do beside training: which sequences they read, how they smooth, what they leave out of a recipe."""

import numpy as np
import pytest
from launching import write_recipe

from lmeff.clock import Clock
from lmeff.probes.learning_rate import SMOOTHING, RangeTest, chart, smooth
from lmeff.probes.probe_run import FirstSequences, ProbeTrainer, made_trainer, prepared_tokens, probe_folder, quiet
from lmeff.probes.speed import Speed
from lmeff.recipe import read_recipe
from lmeff.tokens import PermutationOrder
from lmeff.training.method import Method


def test_smoothing_is_the_mean_with_weights_that_fall():
    losses = np.random.default_rng(0).normal(3, 1, 30)
    for count in range(1, 31):
        weights = [SMOOTHING ** (count - 1 - index) for index in range(count)]
        assert smooth(losses)[count - 1] == pytest.approx(np.average(losses[:count], weights=weights))


@pytest.mark.parametrize(("steepest", "lowest", "suggested"), [(1e-3, 1e-2, 1e-3), (1e-2, 1.5e-2, 5e-3)])
def test_the_suggested_rate(steepest, lowest, suggested):
    assert RangeTest([], [], [], steepest, lowest).suggested == pytest.approx(suggested)


def test_the_axis_of_losses_says_what_they_are_over():
    spec = chart(RangeTest([1e-3, 1e-2], [5, 4], [5, 4.5], 1e-3, 1e-2), "nats per masked token").to_dict()
    assert spec["layer"][0]["encoding"]["y"]["title"] == "Loss, nats per masked token"


def test_the_same_few_sequences_in_every_step():
    inner = PermutationOrder(num_sequences=50, seed=3, clock=Clock(8 * 32, 32))
    order = FirstSequences(inner, num_sequences=3, sequence_length=32)
    for step in (0, 1, 17):
        assert order.sequences(step).tolist() == inner.sequences(0)[:3].tolist()
    assert order.fingerprint != inner.fingerprint


def test_a_probe_writes_no_checkpoint_and_meets_what_is_not_finite(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path), ["optimizer.nonfinite=skip", "training.report_to=tensorboard"]).recipe
    probe = quiet(recipe)
    assert (probe.checkpoints.every_steps, probe.optimizer.nonfinite) == (None, "stop")
    assert probe.training["report_to"] == "none"
    assert recipe.checkpoints.every_steps == 7
    assert probe_folder(recipe) == tmp_path / "outputs" / "job" / "probes"


@pytest.mark.medium
def test_what_a_method_does_before_training_is_done_once(tmp_path):
    class Counting(Method):
        times = 0

        def before_training(self, trainer, check_stop):
            self.times += 1

    recipe, method = quiet(read_recipe(write_recipe(tmp_path)).recipe), Counting()
    with made_trainer(ProbeTrainer, recipe, prepared_tokens(recipe), 1, (4, 4), [method]):
        assert method.times == 1


def test_a_speed_says_where_it_comes_from():
    said = Speed(1000.0, "cpu", "float32", 4, 10).describe()
    assert "10 steps with 4 sequences" in said
    assert "float32 on cpu" in said
