"""Documents out of files: plain text and JSON lines, as they are or compressed, in folders and globs."""

import glob
import gzip
import io
import json
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow

from lmeff.errors import InputError

_TEXT_SUFFIXES = (".txt", ".train", ".dev", ".test")
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_PACKED_SUFFIXES = (".gz", ".zst")
_READ_CHARACTERS = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    text: str
    domain: str
    """Stem of the file it came from."""


def plain_name(path: Path) -> Path:
    """A file's name without what says how it is packed."""
    return path.with_suffix("") if path.suffix in _PACKED_SUFFIXES else path


def domain(path: Path) -> str:
    """Stem of a file's name without what says how it is packed: `wiki` for `wiki.jsonl.gz`."""
    return plain_name(path).stem


def _is_source(path: Path) -> bool:
    return plain_name(path).suffix in _TEXT_SUFFIXES + _JSON_SUFFIXES


def find_files(paths: Sequence[str], key: str) -> list[Path]:
    """The files that `paths` name, sorted, each once. Folders are searched; globs may use `**`.

    Raises InputError naming `key` and the path that holds nothing to read.
    """
    found: dict[Path, Path] = {}
    mistakes = []
    for pattern in paths:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = [file for file in path.rglob("*") if file.is_file() and _is_source(file)]
            missing = f"folder has no {', '.join((*_TEXT_SUFFIXES, *_JSON_SUFFIXES))} file (plain, .gz or .zst)"
        elif glob.has_magic(pattern):
            matches = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
            missing = "no file matches"
        else:
            matches = [path] if path.is_file() else []
            missing = "no such file or folder"
        unread = [file for file in matches if not _is_source(file)]
        if not matches:
            mistakes.append(f"{key}: {pattern}: {missing}")
        if unread:
            mistakes.append(
                f"{key}: {unread[0]}: not a text or JSON-lines file by its name (.txt, .jsonl; .gz or .zst after it)"
            )
        found.update((file.resolve(), file) for file in matches)
    if mistakes:
        raise InputError(*mistakes)
    return sorted(found.values(), key=lambda file: file.as_posix())


def open_text(path: Path) -> IO[str]:
    """A file's text, unpacked on the way."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if path.suffix == ".zst":
        # Arrow's reader, unlike zstandard's, complains when the file ends before its last frame does.
        return io.TextIOWrapper(pyarrow.input_stream(str(path), compression="zstd"), encoding="utf-8")
    return open(path, encoding="utf-8")


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _plain(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def check_templates(templates: Sequence[str]) -> None:
    """Raises InputError for a template that is not `{field}` text."""
    for template in templates:
        try:
            parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise InputError(f"corpus.text: {template!r}: {error}") from None
        if not parts or not all(name.isidentifier() and not form and not change for _, name, form, change in parts):
            raise InputError(f"corpus.text: {template!r} must name fields, as in '{{text}}'")


def _from_json_lines(file: IO[str], path: Path, templates: Sequence[str]) -> Iterator[str]:
    wanted = [(template, _fields(template)) for template in templates]
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}:{number}: not readable as JSON ({error.msg} at character {error.pos + 1})"
            ) from None
        except RecursionError:
            raise InputError(f"{path}:{number}: not readable as JSON (nested too deeply)") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: a line must be a JSON object, this is a {type(record).__name__}")
        for template, fields in wanted:
            if all(record.get(name) is not None for name in fields):
                text = template.format(**{name: _plain(record[name]) for name in fields})
                if _SURROGATE.search(text):
                    raise InputError(f"{path}:{number}: holds half of a character (a lone \\ud800-\\udfff escape)")
                yield text
                break
        else:
            raise InputError(
                f"{path}:{number}: has none of the fields that corpus.text wants ({'; '.join(templates)});"
                f" it has {', '.join(map(str, record)) or 'no field'}"
            )


def _from_text(file: IO[str], separator: str | None) -> Iterator[str]:
    if separator is None:
        yield file.read()
        return
    rest = ""
    while piece := file.read(_READ_CHARACTERS):
        *whole, rest = (rest + piece).split(separator)
        yield from whole
    yield rest


def read_documents(files: Sequence[Path], templates: Sequence[str], separator: str | None) -> Iterator[Document]:
    """Documents in the order of the files, stripped of surrounding white space; empty ones are left out.

    Raises InputError naming file and line of what cannot be read.
    """
    for path in files:
        plain = plain_name(path)
        try:
            with open_text(path) as file:
                is_json = plain.suffix in _JSON_SUFFIXES
                for text in _from_json_lines(file, path, templates) if is_json else _from_text(file, separator):
                    if text := text.strip():
                        yield Document(text, domain(path))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not UTF-8 text (byte {error.object[error.start]:#04x}: {error.reason})"
            ) from None
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
