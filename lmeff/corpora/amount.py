"""How much text is kept, by which some documents may be too much of it to be held out whole."""

import sys
from dataclasses import dataclass, field

from lmeff.corpora.documents import Kept
from lmeff.corpora.split import longest_whole

NO_LIMITS = (sys.maxsize, sys.maxsize)
"""Every document stays whole: nobody knows how much text there is before all of it is read."""


@dataclass
class Amount:
    """Of text, in characters of its documents as they are written: after cleaning and filters, up to the budget."""

    num_characters: int = 0
    longest: list[int] = field(default_factory=lambda: [0, 0])
    """Of rows, and of files of plain text."""

    def add(self, kept: Kept) -> None:
        self.num_characters += kept.num_characters
        self.longest[kept.is_file] = max(self.longest[kept.is_file], kept.num_characters)

    def limits(self, dev_share: float) -> tuple[int, int] | None:
        """The lengths up to which rows, and files, stay whole; None when none is longer."""
        limits = (
            longest_whole(self.num_characters, dev_share, is_file=False),
            longest_whole(self.num_characters, dev_share, is_file=True),
        )
        return limits if any(found > limit for found, limit in zip(self.longest, limits, strict=True)) else None
