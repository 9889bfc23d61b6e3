"""`optimizer:` how weights follow gradients."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, Section


class Optimizer(Section):
    name: Annotated[Literal["adamw", "muon", "schedule_free_adamw"], OnResume.FIXED] = "adamw"
    """`adamw` (Loshchilov & Hutter 2019), fused where the device has it. `muon` (Jordan et al. 2024) for the matrices of the
    layers, with AdamW for embeddings, head and vectors, and for the attention of an `xlnet`, which keeps its matrices by heads,
    in three dimensions. `schedule_free_adamw` (Defazio et al. 2024). No weight decay on norms."""
    learning_rate: Annotated[Number, Field(gt=0)] = 3e-4
    """Peak learning rate."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    betas: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    nonfinite: Literal["stop", "skip"] = "stop"
    """A step whose loss or gradient is NaN or infinite: `stop` ends the run; `skip` leaves its update out and counts it in
    `num_skipped_steps`."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.nonfinite == "skip" and self.name == "schedule_free_adamw":
            yield "nonfinite", "schedule_free_adamw averages over steps and cannot leave one out; use 'stop'"
