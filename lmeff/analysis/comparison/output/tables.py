"""A comparison as tables of text cells, for the terminal and for papers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmeff.analysis.comparison.compare import Comparison
from lmeff.analysis.comparison.estimates import Question, Row
from lmeff.analysis.comparison.held_out_losses import HELD_OUT
from lmeff.analysis.comparison.output.cells import interval, metric_name, p_text, signed, value
from lmeff.analysis.reading.tasks import task_titles

_FEW = 20
"""So many paradigms are all shown where no phenomena stand between them and their suite."""


@dataclass(frozen=True)
class Table:
    """The differences on one suite."""

    suite: str
    header: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    """Lines of cells: the whole, phenomena, and paradigms that differ; groups without lines are left out."""
    rows: tuple[Row, ...]
    """What the lines show."""

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The header and all lines."""
        return [self.header, *(line for group in self.groups for line in group)]


def tables_of(comparison: Comparison) -> list[Table]:
    """One for each suite, held-out losses last."""
    return [_table(comparison, suite) for suite in comparison.suites]


def _table(comparison: Comparison, suite: str) -> Table:
    of_level = {level: comparison.of(suite, level) for level in ("loss", "overall", "phenomenon", "paradigm")}
    paradigms = of_level["paradigm"]
    if of_level["phenomenon"] or len(paradigms) > _FEW:
        differing = [row for row in paradigms if comparison.differs(row)]
        of_level["paradigm"] = sorted(differing, key=lambda row: row.difference)
    rows = [row for of_one in of_level.values() for row in of_one]
    questions = shown_questions(rows)
    header = ["", *([] if suite == HELD_OUT else ["n"]), "A", "B", "B - A"]
    for name in questions:
        header += [f"95% over {name}", "p", *([] if suite == HELD_OUT else ["Holm", "BH"])]
    titles = task_titles([member.run for member in comparison.sides.members], [row.task for row in rows])
    groups = [
        tuple(_line(row, titles[row.task], questions, rows[0].metric) for row in of_one) for of_one in of_level.values()
    ]
    return Table(suite, tuple(header), tuple(group for group in groups if group), tuple(rows))


def shown_questions(rows: Sequence[Row]) -> list[Question]:
    """Which answers a table shows: over items and, with several seeds on both sides, over seeds."""
    both: tuple[Question, Question] = ("items", "seeds")
    return [name for name in both if any(row.estimate(name) for row in rows)]


def both_line(row: Row) -> str | None:
    """What holds of other training runs on other items, which is what a claim about two recipes needs."""
    if row.both is None:
        return None
    p = p_text(row.both.p)
    p = p if p.startswith("<") else f"= {p}"
    return f"over seeds and items together, overall: {signed(row, row.difference)} {interval(row, row.both)}, p {p}"


def methods_of(rows: Iterable[Row], question: Question) -> list[str]:
    """How the intervals and then the p values of rows were taken, each once."""
    estimates = [estimate for row in rows if (estimate := row.estimate(question))]
    return list(dict.fromkeys([*(one.interval for one in estimates), *(one.test for one in estimates)]))


def _line(row: Row, title: str, questions: Sequence[Question], usual_metric: str) -> tuple[str, ...]:
    if row.suite == HELD_OUT:
        cells = [metric_name(row.metric)]
    else:
        name = "overall" if row.level == "overall" else title
        cells = [name if row.metric == usual_metric else f"{name} ({metric_name(row.metric)})"]
        cells.append("" if row.num_items is None else f"{row.num_items:,}")
    cells += [value(row, row.a), value(row, row.b), signed(row, row.difference)]
    for question in questions:
        estimate = row.estimate(question)
        cells += [interval(row, estimate), p_text(estimate.p if estimate else None)]
        if row.suite != HELD_OUT:
            cells += [p_text(p) for p in ((estimate.p_holm, estimate.p_bh) if estimate else (None, None))]
    return tuple(cells)
