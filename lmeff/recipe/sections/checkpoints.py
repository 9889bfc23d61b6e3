"""`checkpoints:` how often the full training state is written."""

from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section


class Checkpoints(Section):
    on_resume: ClassVar[OnResume] = OnResume.FREE

    every_steps: PositiveCount | None = 500
    """Optimizer steps between checkpoints (full training state for resuming); null for none."""
    every_minutes: Annotated[Number, Field(gt=0)] | None = None
    """Minutes between checkpoints, beside `every_steps`."""
    keep: PositiveCount = 2
    """Newest checkpoints kept. Revisions are never removed."""
