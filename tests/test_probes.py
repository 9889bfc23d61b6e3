"""The probes say what is right and what is broken, on a real recipe."""

import json
from pathlib import Path

import pytest
import torch

from lmeff.cli import main
from lmeff.errors import RunFailed
from lmeff.probes.bench import Bench, prepared_tokens
from lmeff.probes.learning_rate import range_test, smooth
from lmeff.probes.overfit import overfit
from lmeff.recipe import read_recipe
from tests.launching import write_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("probes"))


def bench(recipe: Path, *words: str) -> Bench:
    wanted = read_recipe(recipe, ["model.attention_dropout=0", *words]).recipe
    return Bench.of(wanted, prepared_tokens(wanted))


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

    def after_40_steps(rate: float) -> float:
        on = bench(recipe)
        return [on.step(batch, rate)[0] for batch in on.batches(40)][-1]

    losses = {factor: after_40_steps(found["suggested"] * factor) for factor in (1 / 30, 1, 30)}
    assert losses[1] < losses[1 / 30] - 0.3
    assert not losses[1] > losses[30] - 0.3


def test_a_step_is_the_runs_step(recipe: Path) -> None:
    """The first steps' losses are those a run logs."""
    from tests.launching import curve, finish, run_folder, start

    finish(start(None, str(recipe), "name=run", "model.attention_dropout=0", "anchors.tokens=[20k]"))
    wanted = curve(run_folder(recipe, "run"))[:6]
    on = bench(recipe)
    for batch, (_, loss, norm, rate) in zip(on.batches(6), wanted, strict=True):
        assert on.step(batch, rate) == pytest.approx((loss, norm), rel=1e-4)


def test_every_step_has_its_length(recipe: Path) -> None:
    """The lengths change after 2 and 4 steps of 512 tokens."""
    on = bench(recipe, "batch.sequence_lengths={0: 8, 1024: 16, 2k: 32}")
    assert [wanted.length for wanted in on.batches(6)] == [8, 8, 16, 16, 32, 32]
    read = []
    on.model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    for wanted in on.batches(6):
        on.step(wanted._replace(sequence_ids=wanted.sequence_ids[:4]), 1e-3)
    assert read == [8, 8, 16, 16, 32, 32]


def test_a_flat_loss_is_said(recipe: Path) -> None:
    with pytest.raises(RunFailed, match="the loss does not fall between 1e-12 and 1e-11"):
        range_test(bench(recipe), 1e-12, 1e-11, 30)


def test_overfit(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["model.attention_dropout=0", "optimizer.learning_rate=1e-2"]
    assert main(["probe", "overfit", str(recipe), *words]) == 0
    assert "learns: 4 sequences from 5." in capsys.readouterr().out


def test_overfit_says_what_is_broken(recipe: Path) -> None:
    dead = bench(recipe)
    dead.model.model.layers[1].mlp.down_proj.weight.data.zero_()
    dead.model.model.layers[1].mlp.gate_proj.weight.data.zero_()
    with pytest.raises(RunFailed, match=r"no gradient reaches model\.layers\.1\.mlp\.\w+_proj\.weight"):
        overfit(dead, 4, 20)
    with pytest.raises(RunFailed, match=r"it hardly falls; raise optimizer\.learning_rate"):
        overfit(bench(recipe, "optimizer.learning_rate=1e-7"), 4, 20)
    with pytest.raises(RunFailed, match=r"the loss rises again|is nan|is inf"):
        overfit(bench(recipe, "optimizer.learning_rate=30"), 4, 60)


def test_memory(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["probe", "memory", str(recipe), "--devices", "2"]) == 0
    said = capsys.readouterr().out
    if not torch.cuda.is_available():
        assert said.startswith("CPU (estimated)")
    assert "largest that fits: batch.micro=8" in said
