"""Numbers as people write them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.quantities import (
    format_bytes,
    format_count,
    format_duration,
    format_short,
    format_tokens,
    parse_count,
    parse_number,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("60k", 60_000),
        ("25M", 25_000_000),
        ("1.5B", 1_500_000_000),
        ("1250M", 1_250_000_000),
        ("2G", 2_000_000_000),
        ("1T", 10**12),
        ("25_000_000", 25_000_000),
        ("1e6", 1_000_000),
        (" 5 k ", 5_000),
        ("0", 0),
        (7, 7),
        (2.0, 2),
        (np.int64(9), 9),
        ("0.1B", 100_000_000),
        ("1.1M", 1_100_000),  # 1.1 * 10**6 is not whole in binary floating point
    ],
)
def test_counts_people_write(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "number"), [("3e-4", 3e-4), (".5", 0.5), ("1.", 1.0), ("-2", -2.0), ("0.5M", 5e5), (0.1, 0.1), (3, 3.0)]
)
def test_numbers_people_write(text, number):
    assert parse_number(text) == number


JUNK = [
    "",
    "k",
    "1 2",
    "M25",
    "1e",
    "0x10",
    "1:30",
    "٣",
    "½",
    "1,000",
    "nan",
    "inf",
    True,
    False,
    None,
    [],
    {},
    b"1",
    1j,
]
TOO_FAR = [float("nan"), float("inf"), "1e999999", "1e99999999999999999999", "9e999999B", "-1e400", 10**5000]


@pytest.mark.parametrize(
    "value", JUNK + TOO_FAR, ids=lambda value: repr(value)[:20] if value != 10**5000 else "10**5000"
)
@pytest.mark.parametrize("parse", [parse_count, parse_number])
def test_anything_else_is_a_value_error(parse, value):
    with pytest.raises(ValueError, match=r"."):
        parse(value)


@pytest.mark.parametrize("value", ["1.5", 0.5, "1e-3", "1.2345k", "2e18"])
def test_a_count_is_whole_and_of_this_world(value):
    with pytest.raises(ValueError, match="is not a"):
        parse_count(value)


def test_long_text_is_refused_at_once():
    with pytest.raises(ValueError, match="not a number"):
        parse_count("1" * 200_000 + "x")


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "0"), (60_000, "60k"), (25_000_000, "25M"), (1_250_000_000, "1250M"), (2 * 10**9, "2000M"), (1234, "1234")],
)
def test_names_of_counts(count, name):
    assert format_count(count) == name


@pytest.mark.medium
@given(st.integers(0, 10**15))
def test_the_name_of_a_count_is_exact(count):
    assert parse_count(format_count(count)) == count


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_its_text(value):
    assert parse_number(repr(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(232_945_920, "233M"), (7_900, "7.9k"), (999_999, "1M"), (12, "12"), (0, "0"), (-1500, "-1.5k")]
)
def test_short_numbers(value, text):
    assert format_short(value) == text


def test_short_numbers_take_a_unit():
    assert format_short(1.22e18, "FLOP") == "1.22EFLOP"


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_400_000_000, "1.4 GB"), (999_900_000, "1 GB"), (33_918_976, "33.9 MB")],
)
def test_bytes(num_bytes, text):
    assert format_bytes(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42.4, "42 s"), (59.7, "1 min 00 s"), (60, "1 min 00 s"), (3599.9, "1 h 00 min"), (11_520, "3 h 12 min")],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (60_000, "60k"),
        (131_072, "131k"),
        (999_999, "1M"),
        (1_600_000, "1.6M"),
        (25_000_000, "25M"),
        (232_930_560, "233M"),
        (999_950_000, "1B"),
        (1_234_000_000, "1.234B"),
        (1_235_000_000, "1.235B"),
        (1_250_000_000, "1.25B"),
        (2_000_000_000, "2B"),
        (3.7e9, "3.7B"),
        (1_500_000_000_000, "1.5T"),
    ],
)
def test_counts_people_read(count, text):
    assert format_tokens(count) == text
