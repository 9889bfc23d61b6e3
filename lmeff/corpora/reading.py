"""Raw records out of files, in batches of bounded size: what one process reads and others make documents of."""

import json
import re
import string
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow
from pyarrow import parquet

from lmeff.corpora.characters import check_characters
from lmeff.corpora.sources import JSON_SUFFIXES, open_text, plain_name
from lmeff.errors import InputError

_BATCH_CHARACTERS = 1 << 20
_READ_CHARACTERS = 1 << 20
_WHOLE_FILE_CHARACTERS = 16 << 20
_PIECE_CHARACTERS = 1 << 20
_TABLE_ROWS = 1_000
_EVERYTHING = "{*}"
"""The template for all values of a record, whatever their names."""


@dataclass(frozen=True)
class Form:
    """How documents stand in files; the settings of these names in a recipe."""

    text: tuple[str, ...] = ("{text}",)
    separator: str | None = None
    begins: str | None = None
    join: int | None = None


@dataclass(frozen=True)
class Batch:
    """Neighbouring records of one file."""

    path: Path
    records: list[Any]
    """JSON lines (str), rows of a table (dict) or finished texts (str)."""
    is_text: bool
    first_line: int
    """Line or row of the first record, from 1."""
    num_characters: int


# ---------------------------------------------------------------------- templates


@lru_cache
def _fields(template: str) -> tuple[str, ...]:
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def check_templates(templates: Sequence[str]) -> None:
    """Raises InputError for a template that is not `{field}` text."""
    for template in templates:
        if template == _EVERYTHING:
            continue
        try:
            parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise InputError(f"corpus.text: {template!r}: {error}") from None
        if not parts or not all(name.isidentifier() and not form and not change for _, name, form, change in parts):
            raise InputError(f"corpus.text: {template!r} must name fields, as in '{{text}}'")


def check_pattern(pattern: str) -> None:
    """Raises InputError for a `begins` that is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise InputError(f"corpus.begins: {pattern!r} is not a regular expression ({error})") from None


def _plain(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _formatted(template: str, fields: Sequence[str], record: dict[str, Any]) -> str:
    return template.format(**{name: _plain(record[name]) for name in fields})


def _fitting(record: dict[str, Any], templates: Sequence[str]) -> str | None:
    """The first template whose fields all hold something, else the first whose fields are all there."""
    there = None
    for template in templates:
        values = list(record.values()) if template == _EVERYTHING else [record.get(name) for name in _fields(template)]
        if all(values):
            return template
        if there is None and all(value is not None for value in values):
            there = template
    return there


def _fill(record: object, templates: Sequence[str], where: str) -> str:
    if not isinstance(record, dict):
        raise InputError(f"{where}: a line must be a JSON object, this is a {type(record).__name__}")
    template = _fitting(record, templates)
    if template == _EVERYTHING:
        text = "\n".join(map(_plain, record.values()))
    elif template is not None:
        fields = _fields(template)
        text = _plain(record[fields[0]]) if template == f"{{{fields[0]}}}" else _formatted(template, fields, record)
    if template is not None:
        check_characters(text, where)
        return text
    raise InputError(
        f"{where}: has none of the fields that corpus.text wants ({'; '.join(templates)});"
        f" it has {', '.join(map(str, record)) or 'no field'}"
    )


def _parse(line: str, where: str) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # The slower one also knows NaN and lone surrogates, and says where it stopped.
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not readable as JSON ({error.msg} at character {error.pos + 1})") from None
        except RecursionError:
            raise InputError(f"{where}: not readable as JSON (nested too deeply)") from None


def texts_of(batch: Batch, form: Form) -> Iterator[str]:
    """The documents of a batch, stripped of surrounding white space; empty ones are left out."""
    if batch.is_text:
        found: Iterable[str] = batch.records
    else:
        found = _from_records(batch, form)
    for text in found:
        if text := text.strip():
            yield text


def _from_records(batch: Batch, form: Form) -> Iterator[str]:
    for number, record in enumerate(batch.records, start=batch.first_line):
        if isinstance(record, str):
            if not record.strip():
                continue
            record = _parse(record, f"{batch.path}:{number}")
        yield _fill(record, form.text, f"{batch.path}:{number}")


# ---------------------------------------------------------------------- files


def _text_documents(file: IO[str], form: Form) -> Iterator[str]:
    if form.begins or form.join:
        yield from file  # lines, put together by `_grouped`
    elif form.separator is not None:
        rest = ""
        while piece := file.read(_READ_CHARACTERS):
            *whole, rest = (rest + piece).split(form.separator)
            if len(rest) > _WHOLE_FILE_CHARACTERS:
                raise InputError(f"{file.name}: no corpus.separator {form.separator!r} in 16 million characters")
            yield from whole
        yield rest
    else:
        yield from _whole_or_in_pieces(file)


def _whole_or_in_pieces(file: IO[str]) -> Iterator[str]:
    """A file as one document; a very long one as pieces that end where a paragraph, a line or a word does."""
    text = file.read(_WHOLE_FILE_CHARACTERS)
    if len(text) < _WHOLE_FILE_CHARACTERS:
        yield text
        return
    while True:
        while len(text) >= 2 * _PIECE_CHARACTERS:
            cut = _cut(text)
            yield text[:cut]
            text = text[cut:]
        more = file.read(4 * _PIECE_CHARACTERS)
        if not more:
            break
        text += more
    yield text


def _cut(text: str) -> int:
    for pattern in ("\n\n", "\n", " "):
        if (found := text.find(pattern, _PIECE_CHARACTERS, 2 * _PIECE_CHARACTERS - 2)) >= 0:
            return found + len(pattern)
    return _PIECE_CHARACTERS


def _rows(path: Path, form: Form) -> Iterator[dict[str, Any]]:
    try:
        table = parquet.ParquetFile(path)
        wanted = {name for template in form.text if template != _EVERYTHING for name in _fields(template)}
        columns = [name for name in table.schema_arrow.names if name in wanted or _EVERYTHING in form.text]
        if not columns:
            raise InputError(
                f"{path}: has none of the columns that corpus.text wants ({'; '.join(form.text)});"
                f" it has {', '.join(table.schema_arrow.names)}"
            )
        for field in table.schema_arrow:
            if field.name in columns and (
                pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type)
            ):
                raise InputError(f"{path}: column {field.name!r} holds bytes, not text")
        for batch in table.iter_batches(_TABLE_ROWS, columns=columns):
            # A missing value is an empty document.
            yield from (
                {name: "" if value is None else value for name, value in row.items()} for row in batch.to_pylist()
            )
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})") from None


def _grouped(texts: Iterable[str], form: Form) -> Iterator[str]:
    """Rows or lines put together to documents."""
    group: list[str] = []
    size = 0
    pattern = re.compile(form.begins) if form.begins else None
    for text in texts:
        if group and (pattern.search(text) if pattern else len(group) == form.join):
            yield _joined(group, form)
            group, size = [], 0
        group.append(text)
        size += len(text)
        if size > _WHOLE_FILE_CHARACTERS:
            raise InputError(f"corpus.begins: {form.begins!r} matches no line in 16 million characters")
    if group:
        yield _joined(group, form)


def _joined(group: list[str], form: Form) -> str:
    if form.begins:
        return "\n".join(line.rstrip("\n") for line in group)
    return " ".join(text for line in group if (text := line.strip()))


def _lines(file: IO[str], path: Path) -> Iterator[Any]:
    """Lines of JSON; of a `.json` file that is one list its members, as records or finished texts."""
    if plain_name(path).suffix != ".json":
        yield from file
        return
    first = file.readline()
    if not first.lstrip().startswith("["):
        yield first
        yield from file
        return
    try:
        members = json.loads(first + file.read())
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    yield from (member if isinstance(member, dict) else {"text": member} for member in members)


def _size(record: object) -> int:
    return len(record) if isinstance(record, str) else sum(len(str(value)) for value in record.values())  # type: ignore[attr-defined]


def _batched(path: Path, records: Iterable[Any], is_text: bool) -> Iterator[Batch]:
    batch: list[Any] = []
    size, first = 0, 1
    for number, record in enumerate(records, start=1):
        batch.append(record)
        size += _size(record)
        if size >= _BATCH_CHARACTERS:
            yield Batch(path, batch, is_text, first, size)
            batch, size, first = [], 0, number + 1
    if batch:
        yield Batch(path, batch, is_text, first, size)


def _flat(batches: Iterable[Batch], form: Form) -> Iterator[str]:
    for batch in batches:
        yield from _from_records(batch, form)


def read_batches(path: Path, form: Form) -> Iterator[Batch]:
    """The records of a file, about a million characters at a time; the same batches each time.

    Raises InputError naming the file, and the line where there is one, of what cannot be read.
    """
    suffix = plain_name(path).suffix
    together = bool(form.begins or form.join)
    if suffix == ".parquet":
        batches = _batched(path, _rows(path, form), False)
        yield from _batched(path, _grouped(_flat(batches, form), form), True) if together else batches
        return
    try:
        with open_text(path) as file:
            if suffix not in JSON_SUFFIXES:
                texts = _text_documents(file, form)
                yield from _batched(path, _grouped(texts, form) if together else texts, True)
            elif together:
                yield from _batched(path, _grouped(_flat(_batched(path, _lines(file, path), False), form), form), True)
            else:
                yield from _batched(path, _lines(file, path), False)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.object[error.start]:#04x}: {error.reason})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
