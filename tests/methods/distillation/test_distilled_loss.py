"""The loss of a student, its gradient, and what is said of it, against distillation written out in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from methods.distillation.literal import ENTRIES, LENGTH, ROWS, labels, literal_loss, numbers, objective, targets
from objectives.drawing import pieces_of, recipe_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lmeff.methods.distillation import objective as module
from lmeff.objectives import CausalObjective, Objective, objective_of
from lmeff.recipe.sections.distillation import Distillation

CASES = [
    Distillation(teachers=["a", "b"], alpha=0.5, temperature=2, average="logits", reduction="token"),
    Distillation(teachers=["a", "b"], alpha=0.00775, temperature=2, average="probabilities", reduction="token"),
    Distillation(teachers=["a", "b"], alpha=0.5, temperature=1, average="logits", reduction="batchmean"),
    Distillation(teachers=["a", "b"], alpha=0, temperature=0.7, average="probabilities", reduction="batchmean"),
]


def teachers() -> list[torch.Tensor]:
    """The second one has `<mask>`, too."""
    return [numbers(1, ROWS, LENGTH, ENTRIES), numbers(2, ROWS, LENGTH, ENTRIES + 1)]


def together(settings: Distillation, logits: torch.Tensor, at_once: int, num_labeled: int) -> dict[str, torch.Tensor]:
    """The sums over micro-batches of so many rows."""
    student, sums = objective(settings), dict[str, Any]()
    for first in range(0, ROWS, at_once):
        here = slice(first, first + at_once)
        of_rows = targets([one[here] for one in teachers()], labels()[here])
        shares = student.losses(logits[here], of_rows, torch.tensor(float(num_labeled)))
        sums = {name: sums.get(name, 0.0) + share for name, share in shares.items()}
    return sums


@pytest.mark.parametrize("settings", CASES, ids=lambda one: f"{one.average}-{one.reduction}")
@pytest.mark.parametrize("at_once", [6, 2])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_loss_and_gradient_are_those_that_are_written_out(
    settings: Distillation, at_once: int, in_chunks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_chunks:
        monkeypatch.setattr(module, "_CHUNK_NUMBERS", LENGTH * ENTRIES)
    logits = numbers(0, ROWS, LENGTH, ENTRIES).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    loss, nats, term = literal_loss(settings, exact, teachers(), labels())
    loss.backward()
    num_labeled = int((labels()[:, 1:] != -100).sum())
    ours = together(settings, logits, at_once, num_labeled)
    ours["loss"].backward()
    assert ours["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert ours["nats"].item() == pytest.approx(nats.item(), rel=1e-6)
    assert ours["teacher"].item() == pytest.approx(term.item(), rel=1e-6)
    assert logits.grad is not None
    assert exact.grad is not None
    assert (logits.grad - exact.grad).abs().max() < 1e-6 * exact.grad.abs().max()
    assert exact.grad.abs().max() > 1e-3


def test_a_teacher_that_says_what_the_student_says_adds_nothing() -> None:
    settings = Distillation(teachers=["a"], alpha=0.3)
    logits = numbers(0, ROWS, LENGTH, ENTRIES).requires_grad_()
    losses = objective(settings).losses(logits, targets([logits.detach()], labels()), torch.tensor(20.0))
    assert abs(losses["teacher"].item()) < 1e-7
    losses["loss"].backward()
    plain = numbers(0, ROWS, LENGTH, ENTRIES).requires_grad_()
    CausalObjective().losses(plain, {"labels": labels()}, torch.tensor(20.0))["loss"].backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, 0.3 * plain.grad, atol=1e-8)


def test_what_else_the_objective_minimizes_weighs_what_it_did() -> None:
    settings, inner = Distillation(teachers=["a"], alpha=0.3), CausalObjective(z_loss=0.1)
    logits, num_labeled = numbers(0, ROWS, LENGTH, ENTRIES), torch.tensor(20.0)
    of_rows = targets(teachers()[:1], labels())
    ours = objective(settings, inner).losses(logits, of_rows, num_labeled)
    own = inner.losses(logits, {"labels": labels()}, num_labeled)
    expected = 0.3 * own["nats"] + 0.7 * ours["teacher"] + (own["loss"] - own["nats"])
    assert ours["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert ours["nats"].item() == own["nats"].item()


@pytest.mark.parametrize(("family", "name"), [("bert", "masked"), ("llama", "hybrid"), ("llama", "causal")])
def test_the_teachers_term_weighs_positions_as_the_loss_does(tmp_path: Path, family: str, name: str) -> None:
    """A student that says nothing is as far from a teacher at one position as at any other: the term is that distance times
    what all positions weigh together, which is what the objective divides by."""
    recipe = recipe_of(tmp_path, family, f"objective.name={name}")
    inner: Objective = objective_of(recipe)
    given = inner.inputs(pieces_of(16, 32))
    entries = recipe.model_vocab_size
    weight = inner.total_weight(given["targets"])
    whole = inner.num_labeled(given["targets"]) if weight is None else weight
    said = torch.zeros(entries)
    said[5] = 20.0
    of_rows = given["targets"] | {"teacher": {"0": said.expand(16, 32, entries)}, "num_rows": torch.tensor(16)}
    settings = Distillation(teachers=["a"], temperature=2)
    losses = objective(settings, inner).losses(torch.zeros(16, 32, entries), of_rows, whole.float())
    odds = torch.tensor([np.exp(10.0)] + [1.0] * (entries - 1), dtype=torch.float64)
    odds /= odds.sum()
    assert losses["teacher"].item() == pytest.approx(4 * (odds * (odds * entries).log()).sum().item(), rel=1e-5)


class LargestFloat32(TorchDispatchMode):
    """The size of the largest float32 tensor that is made inside."""

    size = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        sizes = [
            one.numel() for one in tree_leaves(made) if isinstance(one, torch.Tensor) and one.dtype == torch.float32
        ]
        self.size = max([self.size, *sizes])
        return made


def test_nothing_in_float32_is_as_large_as_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 2 * LENGTH * ENTRIES)
    settings = Distillation(teachers=["a", "b"], average="probabilities")
    said = [one.bfloat16() for one in teachers()]

    def largest(student: Objective, of_rows: dict[str, Any]) -> int:
        logits = numbers(0, ROWS, LENGTH, ENTRIES).bfloat16().requires_grad_()
        with LargestFloat32() as made:
            student.losses(logits, of_rows, torch.tensor(20.0))["loss"].backward()
        assert logits.grad is not None
        return made.size

    # Of two teachers at once, in a chunk of two rows.
    assert largest(objective(settings), targets(said, labels())) <= 2 * 2 * LENGTH * ENTRIES < ROWS * LENGTH * ENTRIES
    assert largest(CausalObjective(), {"labels": labels()}) >= ROWS * LENGTH * ENTRIES, "so that it would be seen"
