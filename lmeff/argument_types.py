"""What arguments of the commands may be, for argparse."""

import argparse

from lmeff.quantities import parse_number


def positive(text: str) -> float:
    """A number above 0, as a person writes it: `3e-4`, `60k`."""
    try:
        if (number := parse_number(text)) > 0:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def share(text: str) -> float:
    """A number above 0, 1 at the most."""
    if (number := positive(text)) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is above 1")
    return number


def positive_int(text: str) -> int:
    """A whole number above 0: `128`, `25M`."""
    if (number := positive(text)) != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(number)


def positive_ints(text: str) -> list[int]:
    """Whole numbers above 0 between commas."""
    return [positive_int(part) for part in text.split(",")]
