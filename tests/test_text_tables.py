"""Tables as plain text."""

import pytest

from lmeff.text_tables import table_line, table_lines


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [["model", "tokens", "loss"], ["a", "25M", "10.5"], ["longer name", "-", "9"]]
    assert table_lines(rows) == [
        "model        tokens  loss",
        "a               25M  10.5",
        "longer name       -     9",
    ]
    assert table_lines([]) == []


def test_every_column_has_its_side_and_the_last_one_is_that_of_the_rest():
    rows = [["aa", "bb", "cc", "dd"], ["1", "2", "3", "4"]]
    assert table_lines(rows, "><<>", indent="  ") == ["  aa  bb  cc  dd", "   1  2   3    4"]
    assert table_lines(rows, ">") == ["aa  bb  cc  dd", " 1   2   3   4"]


def test_no_line_ends_in_spaces():
    assert table_lines([["name", "note"], ["x", ""]], "<<") == ["name  note", "x"]


def test_a_row_of_a_growing_table_has_the_widths_it_is_given():
    widths = (5, 3)
    assert [table_line(row, widths) for row in (("a", "1"), ("abcdefg", "1"))] == ["a        1", "abcdefg    1"]


def test_a_row_has_as_many_cells_as_there_are_widths():
    with pytest.raises(ValueError, match="zip"):
        table_line(("a", "b"), (5,))
