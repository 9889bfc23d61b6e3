"""Numbers as people write them: `60k`, `25M`, `1.5B`, `3e-4`, `25_000_000`."""

import math
import re
from decimal import Decimal
from numbers import Real

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_PATTERN = re.compile(r"([+-]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*([kmbgt]?)", re.IGNORECASE)
_LARGEST_COUNT = 10**18


def _parse(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Real | str | Decimal):
        raise ValueError(f"{value!r} is not a number")
    text, scale = str(value), 1
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is not a number such as 60k, 25M, 1.5B or 3e-4")
        text, scale = match[1].replace("_", ""), _SCALES[match[2].lower()]
    try:
        number = Decimal(text) * scale
    except ArithmeticError:  # decimal.Overflow and decimal.InvalidOperation
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def parse_number(value: object) -> float:
    """A float from a number or from text such as `3e-4` or `0.5M`. Raises ValueError."""
    number = float(_parse(value))
    if math.isinf(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def parse_count(value: object) -> int:
    """A whole number from a number or from text such as `25M` or `25_000_000`. Raises ValueError."""
    number = _parse(value)
    if abs(number) > _LARGEST_COUNT:  # int() of 1e999999 would take for ever
        raise ValueError(f"{value!r} is not a number up to {_LARGEST_COUNT:.0e}")
    if number != number.to_integral_value():
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)


def format_count(count: int) -> str:
    """The name of a count in the largest exact unit up to M: `0`, `60k`, `25M`, `1250M`, `2000M`, `1234`."""
    if count and count % 10**6 == 0:
        return f"{count // 10**6}M"
    if count and count % 10**3 == 0:
        return f"{count // 10**3}k"
    return str(count)


def _rounded(value: float, units: tuple[tuple[float, str], ...]) -> tuple[str, str]:
    """Three digits and the unit; the unit is chosen after rounding, so that 999,999 is 1M and not 1e+03k."""
    value = float(f"{value:.3g}")
    scale, unit = next((unit for unit in units if abs(value) >= unit[0]), units[-1])
    return f"{value / scale:.3g}", unit


def format_short(value: float, unit: str = "") -> str:
    """A rounded number for people: `233M`, `1.22G`, `7.9k`. `unit` is appended."""
    units = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
    return "".join(_rounded(value, units)) + unit


def format_tokens(count: float) -> str:
    """A count as people read it, in tables, on axes and in a plan: `60k`, `1.6M`, `1.25B`, `2B`. Up to four digits are exact,
    so that neighboring anchors keep apart; longer numbers are rounded to three. Names on disk are `format_count`'s."""
    units = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, ""))
    scale, unit = next(((scale, unit) for scale, unit in units if abs(count) >= scale), units[-1])
    exact = f"{count / scale:.4g}"
    is_exact = round(float(exact) * scale) == count and float(exact) < 1000
    return exact + unit if is_exact else "".join(_rounded(count, units))


def format_bytes(num_bytes: float) -> str:
    """Bytes for people, in powers of 1,000: `1.4 GB`."""
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
    return " ".join(_rounded(round(num_bytes), units))


def format_duration(seconds: float) -> str:
    """Seconds for people: `3 h 12 min`, `42 s`."""
    seconds = round(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    if seconds >= 60:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds} s"
