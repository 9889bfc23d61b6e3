"""`objective:` what a model is trained to predict."""

from typing import ClassVar, Literal

from lmeff.recipe.sections.fields import OnResume, Section

ObjectiveName = Literal["causal", "masked", "permutation", "hybrid"]
WITH_MASK_TOKEN: tuple[ObjectiveName, ...] = ("masked", "hybrid")
"""Objectives that hide tokens behind `<mask>`."""


class Objective(Section):
    on_resume: ClassVar[OnResume] = OnResume.FIXED

    name: ObjectiveName | None = None
    """`causal`: the next token. `masked`: hidden tokens, from both sides. `permutation`: tokens in a random order (XLNet).
    `hybrid`: the next token and hidden ones (GPT-BERT). Default: that of the model's family."""
