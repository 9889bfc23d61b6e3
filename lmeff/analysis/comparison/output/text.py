"""A comparison for a terminal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from lmeff.analysis.comparison.compare import Comparison
from lmeff.analysis.comparison.conditions import facts_table, seeds_alone
from lmeff.analysis.comparison.estimates import QUESTIONS, Row
from lmeff.analysis.comparison.held_out_losses import HELD_OUT
from lmeff.analysis.comparison.output.cells import metric_name
from lmeff.analysis.comparison.output.tables import Table, both_line, methods_of, shown_questions, tables_of
from lmeff.quantities import format_short, format_tokens
from lmeff.text_tables import table_lines

_FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "tokens": ("tokens", format_tokens),
    "parameters": ("parameters", format_tokens),
    "flops": ("FLOPs", format_short),
    "batch_tokens": ("tokens per step", "{:,}".format),
    "sequence_length": ("sequence length", "{:,}".format),
    "vocab_size": ("vocabulary", "{:,}".format),
    "corpus": ("corpus", str),
}
"""What stands beside the numbers, and how it is written."""


@dataclass(frozen=True, repr=False)
class PrintedComparison(Comparison):
    """A comparison for a notebook. Printed, it is the text of `lmeff compare`."""

    @classmethod
    def from_comparison(cls, comparison: Comparison) -> Self:
        return cls(**{field.name: getattr(comparison, field.name) for field in fields(comparison)})

    def __str__(self) -> str:
        return print_comparison(self)


def print_comparison(comparison: Comparison) -> str:
    """Both sides with what they differ in, then for each suite the whole, its phenomena, and the paradigms that differ."""
    first = [note for note in comparison.notes if note == seeds_alone(comparison.sides)]
    parts = ["\n".join([*_head(comparison), *first])]
    parts += ["\n".join(_table_lines(comparison, table)) for table in tables_of(comparison)]
    parts.append("\n".join([*_questions(comparison), *(note for note in comparison.notes if note not in first)]))
    if comparison.not_compared:
        parts.append("\n".join(f"not compared: {line}" for line in comparison.not_compared))
    return "\n\n".join(parts) + "\n"


def facts_rows(comparison: Comparison) -> list[list[str]]:
    """What both sides are, a line for each fact."""
    sides = comparison.sides
    seeds = [", ".join(map(str, side.seeds)) if side.seeds else "unknown" for side in (sides.a, sides.b)]
    rows = [["model", sides.a.label, sides.b.label], ["seeds", *seeds]]
    for name, values in facts_table(sides).items():
        title, form = _FACTS[name]
        rows.append([title, *(_values(side, form) for side in values)])
    return rows


def _values(values: Sequence[Any], form: Callable[[Any], str]) -> str:
    return ", ".join("-" if one is None else form(one) for one in values)


def _head(comparison: Comparison) -> list[str]:
    return table_lines([["", "A", "B"], *facts_rows(comparison)], "<")


def counted(row: Row) -> str:
    """Over what a suite's score is."""
    if row.num_paradigms:
        return f"{row.num_paradigms} paradigms, {row.num_pairs:,} pairs"
    return "an unknown number of examples" if row.num_pairs is None else f"{row.num_pairs:,} examples"


def _table_lines(comparison: Comparison, table: Table) -> Iterator[str]:
    if table.suite == HELD_OUT:
        yield "held-out text of training (B - A; lower is better)"
    else:
        yield f"{table.suite} ({counted(table.rows[0])}; {metric_name(table.rows[0].metric)}; B - A)"
    yield from table_lines(table.lines, "<>")
    if line := both_line(table.rows[0]):
        yield line
    if paradigms := comparison.of(table.suite, "paradigm"):
        by_holm, by_bh = (sum(bool(comparison.differs(row, name)) for row in paradigms) for name in ("p_holm", "p_bh"))
        yield (
            f"{by_holm} of {len(paradigms)} paradigms differ over {comparison.question} after Holm's correction at 5%, {by_bh} "
            "after Benjamini and Hochberg's; --json has all of them"
        )


def _questions(comparison: Comparison) -> Iterator[str]:
    """What each interval that is shown is over, and how it was taken."""
    for name in shown_questions(comparison.rows):
        yield f"over {name}: {QUESTIONS[name]} ({'; '.join(methods_of(comparison.rows, name))})"
