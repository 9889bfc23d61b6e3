"""A comparison for a paper: Markdown and LaTeX, a table for each suite with a caption that says how the numbers were made."""

import re
from collections.abc import Callable, Iterator

from lmeff.analysis.comparison.compare import Comparison
from lmeff.analysis.comparison.held_out_losses import HELD_OUT
from lmeff.analysis.comparison.output.cells import metric_name
from lmeff.analysis.comparison.output.tables import Table, both_line, methods_of, shown_questions, tables_of
from lmeff.analysis.comparison.output.text import counted, facts_rows

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
_MOST_COLUMNS = 9
"""Of a table that stands in one column of a page with two."""
_NUMBER = re.compile(r"[<+-]?[\d,.]+|\[[^\]]*\]")


def latex(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_LATEX.get(char, char) for char in text)


def markdown(text: str) -> str:
    """Text as Markdown shows it."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text)


def comparison_markdown(comparison: Comparison) -> str:
    """A table for each suite, one of what the sides are, and notes."""
    parts = [_markdown_table([["", "A", "B"], *facts_rows(comparison)], "l")]
    for table in tables_of(comparison):
        parts += [_markdown_table(table.lines, "lr"), _caption(comparison, table, markdown)]
    parts += ["\n".join(f"- {markdown(line)}" for line in _remarks(comparison))]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison_latex(comparison: Comparison) -> str:
    """A `table` for each suite, in the style of booktabs; what the sides are, and notes, stand in comments."""
    head = [r"% needs \usepackage{booktabs}"]
    head += [f"% {': '.join([title, ' | '.join(values)])}" for title, *values in facts_rows(comparison)]
    head += [f"% {line}" for line in _remarks(comparison)]
    tables = ["\n".join(_latex_table(comparison, table)) for table in tables_of(comparison)]
    return "\n\n".join(["\n".join(head), *tables]) + "\n"


def _remarks(comparison: Comparison) -> list[str]:
    return [*comparison.notes, *(f"not compared: {line}" for line in comparison.not_compared)]


def _markdown_table(lines: list, align: str) -> str:
    header, *rows = ([markdown(cell) for cell in line] for line in lines)
    marks = {"l": "---", "r": "--:"}
    sides = [marks[mark] for mark in align.ljust(len(header), align[-1])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, sides, *rows))


def _latex_table(comparison: Comparison, table: Table) -> Iterator[str]:
    environment = "table*" if len(table.header) > _MOST_COLUMNS else "table"
    yield rf"\begin{{{environment}}}[t]"
    yield r"  \centering\small\setlength{\tabcolsep}{4pt}"
    yield rf"  \begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}"
    yield r"    \toprule"
    yield f"    {_latex_line(table.header)}"
    for group in table.groups:
        yield r"    \midrule"
        yield from (f"    {_latex_line(line)}" for line in group)
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
    yield rf"  \caption{{{_caption(comparison, table, latex)}}}"
    yield rf"  \label{{tab:compare-{re.sub('[^a-z0-9]+', '-', table.suite.lower())}}}"
    yield rf"\end{{{environment}}}"


def _latex_line(cells: tuple[str, ...]) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(cell: str) -> str:
    """Numbers with a sign are mathematics, so that the sign is no hyphen."""
    if cell == "B - A":
        return "B $-$ A"
    if cell == "p":
        return "$p$"
    if _NUMBER.fullmatch(cell) and cell[0] in "<+-[":
        return f"${cell.replace(',', '{,}') if cell[0] != '[' else cell}$"
    return latex(cell)


def _caption(comparison: Comparison, table: Table, escaped: Callable[[str], str]) -> str:
    """What is compared, over what, and how intervals and p values were taken."""
    a, b = comparison.sides.a.label, comparison.sides.b.label
    whole = table.rows[0]
    if table.suite == HELD_OUT:
        sentences = [f"Losses on held-out text of A ({a}) and B ({b}), and their difference; lower is better."]
    else:
        name = metric_name(whole.metric)
        sentences = [f"{name[0].upper()}{name[1:]}, on {table.suite} ({counted(whole)}) of A ({a}) and B ({b})."]
        if whole.num_paradigms:
            sentences.append("A score of several paradigms is their unweighted mean; a tie counts one half.")
    return escaped(" ".join([*sentences, *_methods(comparison, table)]))


def _methods(comparison: Comparison, table: Table) -> Iterator[str]:
    for name in shown_questions(table.rows):
        yield f"Over {name}: {'; '.join(methods_of(table.rows, name))}."
    if line := both_line(table.rows[0]):
        yield f"{line[0].upper()}{line[1:]} (variances added; Owen 2007)."
    num_phenomena, num_paradigms = (len(comparison.of(table.suite, level)) for level in ("phenomenon", "paradigm"))
    families = [f"{num_phenomena} phenomena"] if num_phenomena else []
    families += [f"{num_paradigms} paradigms"] if num_paradigms else []
    if families:
        yield f"Holm, BH: p adjusted over {' and over '.join(families)} (Holm 1979; Benjamini and Hochberg 1995)."
        if len([row for row in table.rows if row.level == "paradigm"]) < num_paradigms:
            yield f"Of the paradigms those are shown that differ over {comparison.question} after Holm's correction at 5%."
    if min(len(comparison.sides.a.members), len(comparison.sides.b.members)) == 1:
        yield "With one training run on a side, nothing is said of other runs."
