"""What the names of revisions of other people say: branches of a repository, or folders with a model each."""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal, Self

from lmeff.hub.names import MAIN
from lmeff.quantities import parse_count

Unit = Literal["tokens", "words", "steps"]

_ENDINGS: dict[Unit, re.Pattern[str]] = {
    "tokens": re.compile(r"tokens?[-_](\d[\d.]*[kKMB]?)$"),
    "words": re.compile(r"chck_(\d[\d.]*[kKMB]?)$"),
    "steps": re.compile(r"step[-_]?(\d+)$"),
}
"""How names end, by what they count: `seed-0-tokens-25M`; BabyLM's `chck_10M`; `step100`."""
_FIRST_COUNT = re.compile(r"[-_]?(?:tokens?|chck|step)[-_]?\d")


@total_ordering
@dataclass(frozen=True)
class NamedRevision:
    """How much a revision was trained on, as far as its name says. Sorts by series and count. In a series a name without a
    count, such as a final model's, is last; `main` is last of all."""

    name: str
    series: str
    """What stands before the count, such as the seed: revisions of one training share it. The whole name without a count."""
    count: int | None = None
    """None for a name that does not say."""
    unit: Unit | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        for unit, pattern in _ENDINGS.items():
            if match := pattern.search(name):
                with suppress(ValueError):  # `1.2.3`
                    return cls(name, _FIRST_COUNT.split(name)[0], parse_count(match[1]), unit)
        return cls(name, name)

    @property
    def seed(self) -> int:
        """That of a series such as `seed-1`; 0 for one that does not say."""
        digits = self.series.removeprefix("seed-")
        return int(digits) if digits.isdecimal() else 0

    def __lt__(self, other: "NamedRevision") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[bool, str, bool, int, str]:
        return self.name == MAIN, self.series, self.count is None, self.count or 0, self.name
