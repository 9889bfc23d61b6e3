"""`paths:` where a run writes."""

from typing import ClassVar

from lmeff.recipe.sections.fields import OnResume, Section


class Paths(Section):
    on_resume: ClassVar[OnResume] = OnResume.FREE

    outputs: str = "outputs"
    """Folder for runs, relative to the working directory: a run is `OUTPUTS/NAME/seed-S`."""
    data: str = "data"
    """Folder for prepared corpora, tokenizers and tokens, relative to the working directory."""
