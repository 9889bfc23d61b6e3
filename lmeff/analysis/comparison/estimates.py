"""What is said of one difference: its value, and for each question an interval and a test."""

from dataclasses import dataclass, replace
from typing import Literal

Level = Literal["overall", "phenomenon", "paradigm", "loss"]
"""`overall`: a suite, or a task that is in none; `loss`: of held-out text."""
Question = Literal["items", "seeds", "both"]

QUESTIONS: dict[Question, str] = {
    "items": "would these very models differ on other items?",
    "seeds": "would models of other training runs differ, on these very items?",
    "both": "would models of other training runs differ on other items?",
}
"""What the interval and the test of each name answer."""


@dataclass(frozen=True)
class Estimate:
    """An answer to one question about a difference."""

    stderr: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    p: float | None
    """Two-sided. None where there is no test."""
    interval: str
    """How the interval was taken; `test`: how p was."""
    test: str
    n: int
    """Over so many items, or seeds on the smaller side."""
    degrees_of_freedom: float | None = None
    """Of Student's t; None where it is not used."""
    p_holm: float | None = None
    """Adjusted for all rows of the suite and level, by Holm's procedure."""
    p_bh: float | None = None
    """The same by Benjamini and Hochberg's."""
    p_permutation: float | None = None
    """Over seeds: of the exact permutation test, which assumes no distribution."""
    p_smallest: float | None = None
    """The smallest p that a permutation test of so few seeds can give."""


@dataclass(frozen=True)
class Row:
    """A difference, B minus A. Of accuracies and other scores in shares of 1."""

    suite: str
    """The task of which it is a part."""
    task: str
    level: Level
    metric: str
    a: float
    b: float
    """Mean over seeds."""
    difference: float
    num_paradigms: int | None = None
    num_pairs: int | None = None
    """Minimal pairs, examples or documents; None where it is not known."""
    num_items: int | None = None
    """From so many items the pairs were made; None where items were not recorded."""
    num_a_better: int | None = None
    """Pairs that A gets right and B does not, a tie being half right; over seeds, on which A's mean is above B's."""
    num_b_better: int | None = None
    items: Estimate | None = None
    seeds: Estimate | None = None
    both: Estimate | None = None

    def estimate(self, question: Question) -> Estimate | None:
        """The answer to one of `QUESTIONS`; None where there is none."""
        answer: Estimate | None = getattr(self, question)
        return answer

    def with_estimate(self, question: Question, answer: Estimate) -> "Row":
        """The same row with another answer."""
        match question:
            case "items":
                return replace(self, items=answer)
            case "seeds":
                return replace(self, seeds=answer)
            case "both":
                return replace(self, both=answer)
