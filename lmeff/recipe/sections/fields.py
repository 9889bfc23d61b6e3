"""Kinds of values that all sections of a recipe use, and what a section is."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lmeff.quantities import parse_count, parse_number

Count = Annotated[int, BeforeValidator(parse_count), Field(ge=0)]
PositiveCount = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
Number = Annotated[float, BeforeValidator(parse_number)]

NUMBER_TEXT = r"^\s*[+-]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*[kKmMbBgGtT]?\s*$"
"""Numbers as `lmeff.quantities` reads them from text, as a regular expression for JSON schemas."""


def check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) or ".." in name:
        raise ValueError("must be letters, digits, '.', '_' or '-', starting with a letter or digit, 96 at most")
    return name


Name = Annotated[str, AfterValidator(check_name)]


class OnResume(Enum):
    """What another value of a field means to a run that has begun. Stands in the field's annotation, or in `on_resume` of a
    section for all fields that do not say it themselves."""

    FREE = "free"
    """The run goes on without a word: the field does not decide what is trained."""
    ACCEPTED = "accepted"
    """The run goes on with `--accept-changes`, and records the change."""
    FIXED = "fixed"
    """The run cannot go on: counted tokens, the checkpoint's shape or the order of the text depend on the field."""


class TextPath:
    """In a field's annotation: it names files of text, or models. The same ones in another place are no change."""


class Section(BaseModel):
    """A section of a recipe. The docstring under a field is the documentation that users see."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    on_resume: ClassVar[OnResume] = OnResume.ACCEPTED
    is_rare: ClassVar[bool] = False
    """Whether a recipe that does not use the section is written down without it, as before there was such a section."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Key and text of what is wrong between fields that are right by themselves; an empty key is the section as a whole."""
        yield from ()
