"""Text and JSON that people hand in, with the place of what is wrong in it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from lmeff.errors import InputError


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises InputError naming the file when it is missing or unreadable."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None


def parse_json(text: str, where: str) -> Any:
    """The JSON value of a line, or of a file. Raises InputError naming `where`, and the place in it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    # The slower one also knows NaN and lone surrogates, and says where it stopped.
    text = text.rstrip()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise InputError(f"{where}: not readable as JSON ({error.msg} at {line}character {error.colno})") from None
    except RecursionError:
        raise InputError(f"{where}: not readable as JSON (nested too deeply)") from None


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines of a text file that are not blank: UTF-8 with or without a byte order mark, any line ends.

    Raises InputError naming the file, and for bytes that are not UTF-8 their place.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except UnicodeDecodeError:
        raise InputError(not_utf8(path)) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def not_utf8(path: str | Path, unpacked: IO[bytes] | None = None) -> str:
    """What to say of a file that is not UTF-8: the line and the offset of the first byte that is not. `unpacked`: the content
    of a compressed file, from its beginning."""
    offset = 0
    with unpacked or open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                is_utf16 = number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff")
                advice = "it looks like UTF-16: save it as UTF-8" if is_utf16 else "save it as UTF-8"
                byte, place = line[error.start], offset + error.start
                return (
                    f"{path}:{number}: is not UTF-8 text (byte {byte:#04x} at offset {place:,} of the file); {advice}"
                )
            offset += len(line)
    return f"{path}: is not UTF-8 text; save it as UTF-8"


def load_yaml(text: str) -> Any:
    """What `yaml.safe_load` returns, ten times as fast where PyYAML was built with its library in C, which words errors in
    another way."""
    import yaml

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
