"""What the formats have in common: fields that are checked when a file is read and when it is written."""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmeff.errors import InputError
from lmeff.files import read_json, write_json

FORMAT: Final = 1
"""Of every file: a version of lmeff reads those with this number or a lower one. Other programs read these files, so their
fields change only with it; a field that is only added has a default, which older files are read with."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LossKind = Literal["masked", "permutation", "hybrid"]
"""The objectives whose training losses are not those of predicting the next token."""
NonNegative = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """Fields of a JSON object. A field that no version knows, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    left_out_when_null: ClassVar[frozenset[str]] = frozenset()
    """Fields of rare kinds of runs, which the files of all others do not have."""

    def left_out(self) -> set[str]:
        """Fields that are not written."""
        return {name for name in self.left_out_when_null if getattr(self, name) is None}

    @classmethod
    def read_file(cls, path: Path) -> Self:
        """Raises InputError naming the file when it is missing or damaged, with the field that is wrong."""
        content = read_json(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise InputError(f"{path}: {where}: {first['msg']}") from None

    def write_file(self, path: Path) -> None:
        """Replaces the file; a reader sees the old one or the new one."""
        write_json(path, self.model_dump(exclude=self.left_out()))
