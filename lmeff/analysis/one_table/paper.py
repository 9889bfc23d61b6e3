"""Curves over seeds in Markdown and LaTeX."""

import re
from collections.abc import Sequence

from lmeff.analysis.comparison.output.paper import latex, markdown
from lmeff.analysis.one_table.matrix import Matrix, long_rows, mean_rows, wide_rows
from lmeff.analysis.one_table.milestone_text import Titled

_MOST_COLUMNS = 6
"""Of a table that stands in one column of a page with two."""


def curves_markdown(
    matrices: Sequence[Matrix], is_long: bool, milestones: Sequence[Titled], remarks: Sequence[str]
) -> str:
    """A table for each task, its title above it; `is_long` gives every anchor a line, with FLOPs and both intervals. Then those
    of milestones."""
    parts = []
    for matrix in matrices:
        parts += [f"**{markdown(matrix.title)}**", _markdown_table(_rows(matrix, is_long))]
        parts.append(markdown(_caption(matrix, is_long)))
    for title, lines in milestones:
        parts += [f"**{markdown(title)}**", _markdown_table(lines)]
    parts.append("\n".join(f"- {markdown(line)}" for line in remarks))
    return "\n\n".join(filter(None, parts)) + "\n"


def curves_latex(
    matrices: Sequence[Matrix], is_long: bool, milestones: Sequence[Titled], remarks: Sequence[str]
) -> str:
    """The same as `table`s in the style of booktabs; remarks stand in comments. With many anchors only the last one has its
    interval: the others would not fit on a page."""
    parts = ["\n".join([r"% needs \usepackage{booktabs}", *(f"% {line}" for line in remarks)])]
    for matrix in matrices:
        is_wide = not is_long and len(matrix.anchors) > _MOST_COLUMNS
        lines = mean_rows(matrix) if is_wide else _rows(matrix, is_long)
        caption = f"{matrix.title}. {_caption(matrix, is_long)}"
        parts.append(_latex_table(lines, caption, f"{matrix.task} {matrix.metric} {matrix.made}"))
    parts += [_latex_table(lines, f"{title[0].upper()}{title[1:]}.", title) for title, lines in milestones]
    return "\n\n".join(parts) + "\n"


def _markdown_table(lines: Sequence[Sequence[str]]) -> str:
    header, *rows = ([markdown(cell) for cell in line] for line in lines)
    sides = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, sides, *rows))


def _latex_table(lines: Sequence[Sequence[str]], caption: str, name: str) -> str:
    header, *rows = lines
    environment = "table*" if len(header) > _MOST_COLUMNS else "table"
    return "\n".join(
        [
            rf"\begin{{{environment}}}[t]",
            r"  \centering\small\setlength{\tabcolsep}{4pt}",
            rf"  \begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"    \toprule",
            f"    {_line(header)}",
            r"    \midrule",
            *(f"    {_line(row)}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            rf"  \caption{{{latex(caption)}}}",
            rf"  \label{{tab:curves-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}}}",
            rf"\end{{{environment}}}",
        ]
    )


def _rows(matrix: Matrix, is_long: bool) -> list[list[str]]:
    return long_rows(matrix) if is_long else wide_rows(matrix)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"


def _caption(matrix: Matrix, is_long: bool) -> str:
    which = "the 95% t interval and the 95% bootstrap interval" if is_long else "the 95% t interval"
    of_one = ". One seed has no such interval" if any(seeds.split()[0] == "1" for _, seeds, _ in matrix.rows) else ""
    return f"Means over seeds, with {which} over seeds, by {matrix.unit} of training{of_one}."
