"""The words in which mistakes are told."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def one_line(text: object, limit: int = 400) -> str:
    """Text that is safe in a one-line message: control characters and lone surrogates escaped, cut when long."""
    start = str(text)[: limit + 1]
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in start)
    return escaped if len(escaped) <= limit else escaped[: limit - 3] + "..."


def show(value: Any) -> str:
    """A value as YAML would have it, short."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f"'{one_line(value, 60)}'"
    return one_line(value, 60)


def join_with_or(choices: Iterable[object]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, last = map(str, choices)
    return f"{', '.join(head)} or {last}" if head else last


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that is spelled most like the word, if any is."""
    return next(iter(get_close_matches(word[:80], list(choices), 1)), None)


def did_you_mean(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'X'?` with the nearest choice behind `prefix`, or nothing when none is near."""
    choice = nearest(word, choices)
    return f"; did you mean '{prefix}{choice}'?" if choice else ""


def as_requirement(error: object, value: Any) -> str:
    """A validator's `X is not a number` in the form of all other mistakes: `must be a number, not X`."""
    text, start = str(error), f"{value!r} is not a "
    return f"must be a {text.removeprefix(start)}, not {show(value)}" if text.startswith(start) else one_line(text)
