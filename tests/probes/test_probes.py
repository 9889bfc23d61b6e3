"""The probes say what is right and what is broken, on a real recipe."""

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from launching import curve, finish, run_folder, start, write_recipe

from lmeff.cli import main
from lmeff.errors import RunFailed
from lmeff.plan import make_plan
from lmeff.plan.memory import USABLE_MEMORY
from lmeff.probes.learning_rate import range_test, smooth
from lmeff.probes.memory import probe_memory
from lmeff.probes.overfit import overfit
from lmeff.probes.probe_run import Look, ProbeTrainer, prepared_tokens, probe_trainer
from lmeff.recipe import read_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("probes"))


def probe(recipe: Path, *words: str, steps: int, sequences: int | None = None) -> AbstractContextManager[ProbeTrainer]:
    wanted = read_recipe(recipe, list(words)).recipe
    return probe_trainer(wanted, prepared_tokens(wanted), steps, sequences)


def losses_at(recipe: Path, rates: list[float], *words: str) -> list[Look]:
    """What is seen in steps with these rates."""
    seen = []
    with probe(recipe, *words, steps=len(rates)) as trainer:
        trainer.run(lambda step: rates[step], lambda look: seen.append(look) or True)
    return seen


def test_smoothing_has_no_bias() -> None:
    assert smooth([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smooth([2.0, 4.0]) == pytest.approx([2.0, (0.09 * 2 + 0.1 * 4) / 0.19])


def test_learning_rate(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    """The suggested rate is one that trains better than rates 30 times below and 30 times above."""
    assert main(["probe", "lr", str(recipe), "--steps", "100"]) == 0
    said = capsys.readouterr().out
    folder = recipe.parent / "outputs" / "job" / "probes"
    found = json.loads((folder / "lr.json").read_text())
    assert f"try optimizer.learning_rate={found['suggested']:.1e}" in said
    assert (folder / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert found["learning_rate"] == sorted(found["learning_rate"])
    assert found["learning_rate"][0] == pytest.approx(1e-6)

    losses = {factor: losses_at(recipe, [found["suggested"] * factor] * 40)[-1].loss for factor in (1 / 30, 1, 30)}
    assert losses[1] < losses[1 / 30] - 0.3
    assert not losses[1] > losses[30] - 0.3


def test_a_step_is_the_runs_step(recipe: Path) -> None:
    """The losses and norms are those a run logs, to the last bit, with dropout, clipping and accumulation."""
    words = ("training.max_grad_norm=0.3", "batch.micro=2")
    finish(start(None, str(recipe), "name=run", "anchors.tokens=[20k]", *words))
    wanted = curve(run_folder(recipe, "run"))[:8]
    assert any(norm > 0.3 for _, _, norm, _ in wanted)
    seen = losses_at(recipe, [rate for *_, rate in wanted], *words)
    assert [(look.step + 1, look.loss, look.grad_norm) for look in seen] == [line[:3] for line in wanted]


def test_every_step_has_its_length(recipe: Path) -> None:
    """The lengths change after 2 and 4 steps of 512 tokens."""
    words = ("batch.sequence_lengths={0: 8, 1024: 16, 2k: 32}", "batch.micro=16")
    for sequences, wanted in ((None, [8, 8, 16, 16, 32, 32]), (4, [8] * 6)):
        read = []
        with probe(recipe, *words, steps=6, sequences=sequences) as trainer:
            trainer.model.register_forward_pre_hook(
                lambda _, args, given, read=read: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
            )
            trainer.run(lambda step: 1e-3, lambda look: True)
        assert read == [((sequences or 16) * 32 // length, length) for length in wanted]


def test_a_flat_loss_is_said(recipe: Path) -> None:
    with (
        probe(recipe, "model.attention_dropout=0", steps=30) as trainer,
        pytest.raises(RunFailed, match="the loss does not fall between 1e-12 and 1e-11"),
    ):
        range_test(trainer, 1e-12, 1e-11)


def test_overfit(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["model.attention_dropout=0", "optimizer.learning_rate=1e-2"]
    assert main(["probe", "overfit", str(recipe), *words]) == 0
    assert "learns: 4 sequences from 5." in capsys.readouterr().out


def test_overfit_says_what_is_broken(recipe: Path) -> None:
    def fails(match: str, *words: str, steps: int = 60, dead: bool = False) -> None:
        with probe(recipe, "model.attention_dropout=0", *words, steps=steps, sequences=4) as trainer:
            if dead:
                trainer.model.model.layers[1].mlp.down_proj.weight.data.zero_()
                trainer.model.model.layers[1].mlp.gate_proj.weight.data.zero_()
            with pytest.raises(RunFailed, match=match):
                overfit(trainer)

    fails(r"no gradient reaches model\.layers\.1\.mlp\.\w+_proj\.weight", dead=True)
    fails(r"it hardly falls; raise optimizer\.learning_rate", "optimizer.learning_rate=1e-7", steps=20)
    fails(r"the loss rises again|is nan|is inf", "optimizer.learning_rate=30")


def test_memory_of_a_cpu_is_that_of_float32() -> None:
    """Which is how it trains."""
    wanted = read_recipe("60m_babylm3").recipe
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, on which it is tried")
    found = probe_memory(wanted)
    for size, peak in found.peak_bytes.items():
        plan = make_plan(wanted, micro_batch=size)
        assert plan.memory_float32 is not None
        assert peak == plan.memory_float32["ddp"].total
        assert size < 8 or peak > 1.1 * plan.memory["ddp"].total, "so that one is not taken for the other"
    fitting = [size for size, peak in found.peak_bytes.items() if peak <= USABLE_MEMORY * found.total_bytes]
    assert found.micro_batch == max(fitting, default=None)


def test_memory(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["probe", "memory", str(recipe), "--devices", "2"]) == 0
    said = capsys.readouterr().out
    if not torch.cuda.is_available():
        assert said.startswith("CPU (estimated)")
    assert "largest that fits: batch.micro=8" in said
