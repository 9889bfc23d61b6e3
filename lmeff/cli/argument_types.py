"""What arguments of the commands may be, for argparse."""

import argparse
import re

from lmeff.library_internals import options_of
from lmeff.paths import expanded
from lmeff.quantities import parse_number


def positive(text: str) -> float:
    """A number above 0, as a person writes it: `3e-4`, `60k`."""
    try:
        if (number := parse_number(text)) > 0:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def not_negative(text: str) -> float:
    """A number, 0 or above."""
    try:
        if (number := parse_number(text)) >= 0:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or above")


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


def path(text: str) -> str:
    """A path, or something else that may be one, with `~` and variables replaced, which a shell leaves in `--output=~/out`.

    Raises InputError for a variable that is not set.
    """
    return expanded(text) if re.search(r"[~$]", text) else text


def overrides_anywhere(parser: argparse.ArgumentParser) -> None:
    """Lets `key=value` words stand anywhere: argparse wants all positional arguments of a verb side by side."""
    parse = parser.parse_known_args

    def parse_known_args(args: list[str], namespace: argparse.Namespace | None = None):
        def is_value(index: int) -> bool:
            option = options_of(parser).get(args[index - 1]) if index else None
            return option is not None and option.nargs != 0  # a switch such as --json takes none

        words = [n for n, word in enumerate(args) if re.match(r"[A-Za-z_][\w.-]*=", word) and not is_value(n)]
        found, unknown = parse([word for n, word in enumerate(args) if n not in words], namespace)
        found.overrides += [args[n] for n in words]
        return found, unknown

    parser.parse_known_args = parse_known_args
