"""`tokenizer:` the vocabulary, and on what it is trained."""

from typing import Annotated, ClassVar

from pydantic import Field

from lmeff.recipe.sections.fields import OnResume, PositiveCount, Section


class Tokenizer(Section):
    on_resume: ClassVar[OnResume] = OnResume.FIXED

    vocab_size: Annotated[PositiveCount, Field(ge=259)] = 16_000
    """Entries of the byte-level BPE vocabulary, with its 256 bytes and 3 special tokens. Trained on training text
    only."""
    sample: PositiveCount | None = None
    """Bytes of training text, such as `100M`, on which the tokenizer is trained: about so many, from all over it; which text is
    decided by its content alone. Default: all of it."""
    add_bos: bool = False
    """Publish a tokenizer that puts `<s>` in front of every text by itself, for pipelines that add nothing of their own.
    Training and our own scores are the same either way."""
