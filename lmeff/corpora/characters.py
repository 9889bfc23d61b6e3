"""Text that no tokenizer takes, since it cannot be written as UTF-8."""

import re

from lmeff.errors import InputError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def check_characters(text: str, where: str) -> None:
    """Raises InputError for half of a character, as an escape of JSON can leave it. `where`: file and line, for the message."""
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise InputError(f"{where}: holds half of a character (a lone \\ud800-\\udfff escape)")
