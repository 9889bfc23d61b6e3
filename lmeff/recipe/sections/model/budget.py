"""`model.budget:` how many parameters a model shall have and how they are divided; lmeff finds the shape."""

from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section


class Budget(Section):
    # What trains is the shape, which a run keeps: another wish that leads to the same shape is no change.
    on_resume: ClassVar[OnResume] = OnResume.FREE

    parameters: PositiveCount
    """All parameters, embeddings included. The model has so many within 0.5%."""
    embedding_share: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Share of the parameters in the embeddings: one where input and output share it, else both. Default: whatever the shape
    leaves, with layers as deep as usual (about a layer for 32 of `hidden_size`)."""
    glu_factor: Annotated[Number, Field(gt=0)] | None = None
    """Width of the feed-forward network as a multiple of `hidden_size`. Default: 8/3 in families whose network has a gate, 4 in
    others."""
    multiple_of: PositiveCount = 8
    """The widths that are found are multiples of this."""
