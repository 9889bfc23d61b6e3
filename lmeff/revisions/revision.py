"""Which model of a run a revision is, and what it is called."""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

from lmeff.errors import InputError
from lmeff.quantities import format_count, parse_count

_NAME = re.compile(r"seed-(\d+)(?:-tokens-(\d+[kM]?))?", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class Revision:
    """The model of a run at one of its anchors, or its final model. Sorts by seed and tokens, the final model last."""

    seed: int
    tokens: int | None = None
    """The anchor's nominal tokens; None for the final model."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """The revision of this name. Raises InputError for what no revision is called, also for `seed-0-tokens-1000k`, since
        names are written in one way."""
        if (match := _NAME.fullmatch(name)) is not None:
            revision = cls(int(match[1]), None if match[2] is None else parse_count(match[2]))
            if revision.name == name:
                return revision
        raise InputError(f"{name!r} is no name of a revision, such as seed-0-tokens-25M or seed-0")

    @property
    def name(self) -> str:
        """Its folder under `RUN/revisions`: `seed-0-tokens-25M`, and `seed-0` for the final model."""
        return f"seed-{self.seed}" if self.tokens is None else f"seed-{self.seed}-tokens-{format_count(self.tokens)}"

    @property
    def is_final(self) -> bool:
        return self.tokens is None

    def __str__(self) -> str:
        return self.name

    def __lt__(self, other: "Revision") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, bool, int]:
        return self.seed, self.is_final, self.tokens or 0
