"""`compare(A, B)`: what two models, or two groups of seeds, differ in, and how sure that is."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.analysis.comparison.conditions import (
    Sides,
    headline_note,
    recipe_notes,
    refusal,
    results_of,
    seeds_alone,
    unsaid,
    version_notes,
    weights_notes,
)
from lmeff.analysis.comparison.corrections import benjamini_hochberg, holm
from lmeff.analysis.comparison.estimates import QUESTIONS, Question, Row
from lmeff.analysis.comparison.held_out_losses import HELD_OUT, loss_rows
from lmeff.analysis.comparison.rows import has_pairs, is_compared, metric_rows, pair_rows
from lmeff.analysis.comparison.sides import read_sides
from lmeff.errors import InputError
from lmeff.recipe.wording import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two sides and their differences, B minus A."""

    sides: Sides
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """What else differs, and what the numbers do not say; a line each."""
    not_compared: tuple[str, ...]
    """What one side lacks, or what was not measured alike; a line each."""
    paired_seeds: bool
    """Whether both sides have the same seeds, which are then compared one by one."""

    @property
    def question(self) -> Question:
        """What "differs" is decided by: seeds where both sides have several, else items."""
        return "seeds" if min(len(self.sides.a.members), len(self.sides.b.members)) > 1 else "items"

    @property
    def suites(self) -> list[str]:
        """The tasks that were compared, and `held_out`."""
        return list(dict.fromkeys(row.suite for row in self.rows))

    def of(self, suite: str, level: str) -> list[Row]:
        """The rows of a suite at a level."""
        return [row for row in self.rows if row.suite == suite and row.level == level]

    def differs(self, row: Row, adjusted: str = "p_holm") -> bool | None:
        """Whether a row differs after correction (`p_holm` or `p_bh`), at 5%; None where it has no corrected p, as held-out
        losses have none."""
        estimate = row.estimate(self.question)
        p = getattr(estimate, adjusted) if estimate else None
        return None if p is None else p < ALPHA

    @property
    def table(self) -> "pd.DataFrame":
        """A row for every difference, with `items.low`, `seeds.p_holm` and so on."""
        import pandas as pd

        table = pd.json_normalize([asdict(row) for row in self.rows])
        # An estimate that some rows lack leaves an empty column beside those of its parts.
        return table.drop(columns=[name for name in QUESTIONS if name in table])

    def __repr__(self) -> str:
        return f"Comparison({self.sides.a.label!r}, {self.sides.b.label!r}, {len(self.rows)} rows)"


def compare(
    a: str | Path, b: str | Path, tasks: Sequence[str] | None = None, at: str | int | None = None
) -> Comparison:
    """The differences of B and A on everything that was measured alike on both, or on `tasks`.

    Accuracy of a group is the unweighted mean over its paradigms. P values of phenomena and of paradigms are corrected for
    how many the suite has.

    Args:
        a: what A names, as `read_sides` takes it.
        at: an anchor of the runs (`25M`), or `final`.

    Raises InputError for what names no models, and a line for each task that cannot be compared, where it was asked for or none
    is left.
    """
    first, second, notes = read_sides(a, b, at)
    sides = Sides(first, second)
    paired = first.seeds is not None and first.seeds == second.seeds and len(first.seeds) > 1
    rows: list[Row] = []
    refused, missing, compared = [], [], []
    for task in _wanted(sides, tasks):
        if len(results_of(sides, task)) < len(sides.members):
            missing.append(str(refusal(sides, task)))
        elif line := refusal(sides, task):
            refused.append(line)
        else:
            try:
                rows += pair_rows(sides, task, paired) if has_pairs(sides, task) else metric_rows(sides, task, paired)
                compared.append(task)
            except InputError as error:
                refused.append(f"{task}: {error}")
    if tasks and (refused or missing):
        raise InputError(*(f"not compared: {line}" for line in (*refused, *missing)))
    losses, not_losses = ([], []) if tasks else loss_rows(sides, paired)
    not_compared = [*refused, *missing, *not_losses]
    if not rows and (refused or not losses):
        raise InputError(*(f"not compared: {line}" for line in not_compared or ["nothing was measured of both"]))
    rows += losses
    notes += [*weights_notes(sides), *recipe_notes(sides), *version_notes(sides, compared)]
    notes += [line for task in compared if (line := unsaid(sides, task))]
    notes += [
        line for row in rows if row.level == "overall" and row.metric == "acc" if (line := headline_note(sides, row))
    ]
    notes += seed_notes(sides, paired, rows)
    of_seeds = seeds_alone(sides)
    notes = [of_seeds, *notes] if of_seeds else notes
    return Comparison(sides, tuple(corrected(rows)), tuple(notes), tuple(not_compared), paired)


def _wanted(sides: Sides, tasks: Sequence[str] | None) -> list[str]:
    known = dict.fromkeys(task for member in sides.members for task in member.anchor.results.tasks)
    if tasks:
        if unknown := [task for task in tasks if task not in known]:
            raise InputError(
                *(f"--tasks: neither side has a result of {task!r}{did_you_mean(task, known)}" for task in unknown)
            )
        return list(dict.fromkeys(tasks))
    below = {child for member in sides.members for children in member.run.subtasks.values() for child in children}
    return [task for task in known if task not in below and is_compared(sides, task)]


def corrected(rows: Iterable[Row]) -> list[Row]:
    """The rows with p values adjusted among all of one suite and level; held-out losses are no family. A comparison that
    cannot be tested, such as one whose seeds all give the same difference or a score without a standard error, was made, too,
    and enters with p = 1."""
    rows = list(rows)
    families: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        if row.suite != HELD_OUT:
            families.setdefault((row.suite, row.level), []).append(number)
    for question in QUESTIONS:
        for family in families.values():
            estimates = [rows[number].estimate(question) for number in family]
            p_values = [1.0 if estimate is None or estimate.p is None else estimate.p for estimate in estimates]
            adjusted = zip(family, estimates, holm(p_values), benjamini_hochberg(p_values), strict=True)
            for number, estimate, p_holm, p_bh in adjusted:
                if estimate is not None and estimate.p is not None:
                    rows[number] = rows[number].with_estimate(question, replace(estimate, p_holm=p_holm, p_bh=p_bh))
    return rows


def seed_notes(sides: Sides, paired: bool, rows: Iterable[Row]) -> list[str]:
    """How much the seeds can tell."""
    numbers = len(sides.a.members), len(sides.b.members)
    notes = []
    if None in (sides.a.seeds, sides.b.seeds):
        notes.append(
            "nothing says which seeds these models have, or that they are of one recipe: they are taken as named"
        )
    if min(numbers) == 1:
        whose = "one model a side" if max(numbers) == 1 else "one model on a side"
        return [*notes, f"{whose}: nothing here says whether another training run would differ"]
    pairing = "compared seed by seed" if paired else "compared as independent runs"
    notes.append(f"{numbers[0]} and {numbers[1]} seeds, {pairing}")
    smallest = next((row.seeds.p_smallest for row in rows if row.seeds and row.seeds.p_smallest is not None), None)
    if smallest is not None and smallest > ALPHA:
        notes.append(
            f"too few seeds for a permutation test, which cannot give less than p = {smallest:.2g}: p over seeds is of a t "
            "test, which takes runs to be normally distributed"
        )
    if silent := sum(row.seeds is None for row in rows):
        notes.append(
            f"{silent} differences are equal for all seeds, which says nothing of other seeds: they have no p over seeds"
        )
    if min(numbers) == 2:
        notes.append("two seeds on a side are too few to claim that training runs differ")
    return notes
