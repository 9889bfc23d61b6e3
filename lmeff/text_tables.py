"""Tables as plain text: columns two spaces apart, each aligned to the left or to the right."""

from collections.abc import Sequence

GAP = "  "


def table_lines(rows: Sequence[Sequence[str]], align: str = "<>", indent: str = "") -> list[str]:
    """A line for every row, in columns as wide as their widest cell; nothing without rows.

    Args:
        align: `<` (left) or `>` (right) for each column; the last one is that of all further columns.
        indent: in front of every line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + table_line(row, widths, align) for row in rows]


def table_line(cells: Sequence[str], widths: Sequence[int], align: str = "<>") -> str:
    """One row, for tables that are printed while they grow: their widths are chosen before the rows are known. A cell that is
    wider than its column moves the rest of its row. Nothing but what is to be seen stands at the end."""
    aligns = align[: len(cells)].ljust(len(cells), align[-1])
    filled = (f"{cell:{side}{width}}" for cell, width, side in zip(cells, widths, aligns, strict=True))
    return GAP.join(filled).rstrip()
