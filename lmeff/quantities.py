"""Numbers as people write them: `60k`, `25M`, `1.5B`, `3e-4`, `25_000_000`."""

import re
from decimal import Decimal, InvalidOperation
from numbers import Real

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_PATTERN = re.compile(r"([+-]?[0-9][0-9_]*\.?[0-9_]*(?:e[+-]?[0-9]+)?|[+-]?\.[0-9]+(?:e[+-]?[0-9]+)?)\s*([kmbgt]?)", re.IGNORECASE)


def _parse(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Real | str | Decimal):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is not a number such as 60k, 25M, 1.5B or 3e-4")
        return Decimal(match[1].replace("_", "")) * _SCALES[match[2].lower()]
    try:
        number = Decimal(repr(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def parse_number(value: object) -> float:
    """A float from a number or from text such as `3e-4` or `0.5M`. Raises ValueError."""
    return float(_parse(value))


def parse_count(value: object) -> int:
    """A whole number from a number or from text such as `25M` or `25_000_000`. Raises ValueError."""
    number = _parse(value)
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


def format_short(value: float, unit: str = "") -> str:
    """A rounded number for people: `233M`, `1.22G`, `7.9k`. `unit` is appended."""
    for scale, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{letter}{unit}"
    return f"{value:.3g}{unit}"


def format_bytes(num_bytes: float) -> str:
    """Bytes for people, in powers of 1,000: `1.4 GB`."""
    for scale, letter in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {letter}"
    return f"{num_bytes:.0f} B"


def format_duration(seconds: float) -> str:
    """Seconds for people: `3 h 12 min`, `42 s`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.0f} s"
