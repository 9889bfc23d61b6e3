"""Raw records out of files, in batches of bounded size: what one process reads and others make documents of."""

import io
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow
from pyarrow import parquet

from lmeff.corpora.reading.record_text import EVERYTHING, fields_of, fill
from lmeff.corpora.reading.sources import JSON_SUFFIXES, not_utf8_text, open_text, plain_name
from lmeff.errors import InputError
from lmeff.files import parse_json

_BATCH_CHARACTERS = 1 << 20
_READ_CHARACTERS = 1 << 20
_WHOLE_FILE_CHARACTERS = 16 << 20
_PIECE_CHARACTERS = 1 << 20
_TABLE_ROWS = 1_000


@dataclass(frozen=True)
class Form:
    """How documents stand in files; the settings of these names in a recipe."""

    text: tuple[str, ...] = ("{text}",)
    separator: str | None = None
    begins: str | None = None
    join: int | None = None


@dataclass(frozen=True)
class Batch:
    """Neighboring records of one file."""

    path: Path
    records: list[Any]
    """JSON lines (str), rows of a table (dict) or finished texts (str)."""
    is_text: bool
    first_line: int
    """Line or row of the first record, from 1."""
    num_characters: int


def check_pattern(pattern: str) -> None:
    """Raises InputError for a `begins` that is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise InputError(f"corpus.begins: {pattern!r} is not a regular expression ({error})") from None


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
            record = parse_json(record, f"{batch.path}:{number}")
        yield fill(record, form.text, f"{batch.path}:{number}")


# ---------------------------------------------------------------------- files


def _text_documents(file: IO[str], path: Path, form: Form) -> Iterator[str]:
    if form.begins or form.join:
        yield from file  # lines, put together by `_grouped`
    elif form.separator is not None:
        rest = ""
        while piece := file.read(_READ_CHARACTERS):
            *whole, rest = (rest + piece).split(form.separator)
            if len(rest) > _WHOLE_FILE_CHARACTERS:
                raise InputError(f"{path}: no corpus.separator {form.separator!r} in 16 million characters")
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
        wanted = {name for template in form.text if template != EVERYTHING for name in fields_of(template)}
        columns = [name for name in table.schema_arrow.names if name in wanted or EVERYTHING in form.text]
        if not columns:
            raise InputError(
                f"{path}: has none of the columns that corpus.text wants ({'; '.join(form.text)});"
                f" it has {', '.join(table.schema_arrow.names)}"
            )
        for column in table.schema_arrow:
            if column.name in columns and not _holds_text(column.type):
                kind = "bytes" if "binary" in str(column.type) else str(column.type)
                raise InputError(
                    f"{path}: column {column.name!r} holds {kind}, not text, from row 1 on; make text of it first, or name"
                    f" other columns in corpus.text ({', '.join(table.schema_arrow.names)})"
                )
        for batch in table.iter_batches(_TABLE_ROWS, columns=columns):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})") from None


def _holds_text(kind: pyarrow.DataType) -> bool:
    """Whether a column's values are texts or lists of texts; a column of nothing but nulls has the type null."""
    types = pyarrow.types
    if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _holds_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)


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


def json_lines(file: IO[str], path: Path) -> Iterator[Any]:
    """Lines of JSON (str); of a `.json` file that is one list its members, as records (dict). Raises InputError."""
    if plain_name(path).suffix != ".json":
        yield from file
        return
    first = file.readline()
    if not first.lstrip().startswith("["):
        yield first
        yield from file
        return
    text = first + file.read()
    try:
        members = parse_json(text, str(path))
    except InputError:
        if not _is_json(first):
            raise
        yield from io.StringIO(text)  # lists, one a line
        return
    yield from (member if isinstance(member, dict) else {"text": member} for member in members)


def _is_json(text: str) -> bool:
    try:
        parse_json(text, "")
    except InputError:
        return False
    return True


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
                texts = _text_documents(file, path, form)
                yield from _batched(path, _grouped(texts, form) if together else texts, True)
            elif together:
                yield from _batched(
                    path, _grouped(_flat(_batched(path, json_lines(file, path), False), form), form), True
                )
            else:
                yield from _batched(path, json_lines(file, path), False)
    except UnicodeDecodeError:
        raise InputError(not_utf8_text(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
