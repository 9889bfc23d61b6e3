"""Distillation written out in float64, position by position, and made-up logits to try it on."""

from types import SimpleNamespace
from typing import Any

import torch

from lmeff.methods.distillation.objective import DistilledObjective
from lmeff.methods.distillation.terms import TeacherTerm, WholeTerm
from lmeff.objectives import CausalObjective, Objective
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.distillation import Distillation

ROWS, LENGTH, ENTRIES = 6, 8, 13
BATCH = Batch(tokens=ROWS * LENGTH, sequence_length=LENGTH)


class Said:
    """What teachers say, handed over."""

    def __init__(self, term: TeacherTerm) -> None:
        self.term = term

    def for_pieces(self, pieces: Any) -> dict[str, torch.Tensor]:
        return {}

    def for_inputs(self, inputs: Any) -> dict[str, torch.Tensor]:
        return {}


def objective(settings: Distillation, inner: Objective | None = None, term: TeacherTerm | None = None) -> Any:
    recipe: Any = SimpleNamespace(distillation=settings, batch=BATCH)
    knowledge = Said(term or WholeTerm(settings.temperature, settings.average))
    return DistilledObjective(inner or CausalObjective(), recipe, knowledge, ["sha"])


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels() -> torch.Tensor:
    """Each row has fewer labels than the one before; the last has none."""
    drawn = torch.randint(ENTRIES, (ROWS, LENGTH), generator=torch.Generator().manual_seed(5))
    for row in range(ROWS):
        drawn[row, LENGTH - row * LENGTH // (ROWS - 1) :] = -100
    return drawn


def targets(teachers: list[torch.Tensor], of_rows: torch.Tensor) -> dict[str, Any]:
    said = {str(number): one for number, one in enumerate(teachers)}
    return {"labels": of_rows, "teacher": said, "num_rows": torch.tensor(ROWS, dtype=torch.int32)}


def teacher_probabilities(settings: Distillation, logits: list[torch.Tensor]) -> torch.Tensor:
    """Of one position, all teachers together, in float64."""
    scaled = [(one.double()[:ENTRIES] / settings.temperature).exp() for one in logits]
    odds = [one / one.sum() for one in scaled]
    if settings.average == "probabilities":
        return sum(odds) / len(odds)
    product = torch.ones(ENTRIES, dtype=torch.float64)
    for one in odds:
        product = product * one ** (1 / len(odds))
    return product / product.sum()


def literal_loss(
    settings: Distillation, logits: torch.Tensor, teachers: list[torch.Tensor], of_rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, cross-entropy, teachers' term a labeled position) of the whole batch; `logits` are float64."""
    nats = torch.zeros((), dtype=torch.float64)
    distance, count = torch.zeros((), dtype=torch.float64), 0
    for row in range(len(logits)):
        for place in range(1, logits.shape[1]):
            if of_rows[row, place] == -100:
                continue
            z = logits[row, place - 1]
            nats = nats - (z.exp() / z.exp().sum())[of_rows[row, place]].log()
            q = (z / settings.temperature).exp() / (z / settings.temperature).exp().sum()
            p = teacher_probabilities(settings, [one[row, place - 1] for one in teachers])
            for entry in range(ENTRIES):
                distance = distance + p[entry] * (p[entry].log() - q[entry].log())
            count += 1
    term = settings.temperature**2 * distance
    divisor = count if settings.reduction == "token" else len(logits)
    loss = settings.alpha * nats / count + (1 - settings.alpha) * term / divisor
    return loss, nats / count, term / count
