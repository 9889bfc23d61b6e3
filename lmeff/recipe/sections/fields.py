"""Kinds of values that all sections of a recipe use."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lmeff.quantities import parse_count, parse_number

Count = Annotated[int, BeforeValidator(parse_count), Field(ge=0)]
PositiveCount = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
Number = Annotated[float, BeforeValidator(parse_number)]

NUMBER_TEXT = r"^\s*[+-]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*[kKmMbBgGtT]?\s*$"
"""Numbers as `lmeff.quantities` reads them from text, as a regular expression for JSON schemas."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) or ".." in name:
        raise ValueError("must be letters, digits, '.', '_' or '-', starting with a letter or digit, 96 at most")
    return name


Name = Annotated[str, AfterValidator(_check_name)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())
