"""What learning methods cost beside training the model itself."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCosts:
    """Of a whole run with all its parts, as far as it is known."""

    flops_teachers: float | None = None
    """None where there are no teachers, and where they are not known."""
    flops_scoring: float | None = None
    """None where no text is scored by a model."""
    teacher_cache_bytes: int | None = None
    """None where nothing is kept, and where it is not known how much text there is."""
    teacher_parameters: int = 0
    """Weights of the teachers that are asked in every step, which every device has, whole; 0 where they are not known."""
    teacher_entries: int = 0
    """Logits that those give for a position, all of them together."""
    notes: tuple[str, ...] = ()
    """What else there is to say of methods, a line each, such as why something is not known."""


NOTHING_BESIDE = MethodCosts()
"""Of plain training."""


def all_costs(costs: Iterable[MethodCosts]) -> MethodCosts:
    """Those of several methods together, of which each has its own."""
    total: dict[str, float | int] = {}
    notes: tuple[str, ...] = ()
    for one in costs:
        for name, value in vars(one).items():
            if name != "notes" and value is not None:
                total[name] = total.get(name, 0) + value
        notes += one.notes
    return MethodCosts(**total, notes=notes)  # type: ignore[arg-type]
