"""The text of a record, a JSON line or a row of a table, by templates over its fields."""

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError

EVERYTHING = "{*}"
"""The template for all values of a record, whatever their names."""


@lru_cache
def fields_of(template: str) -> tuple[str, ...]:
    """The names of its fields."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def check_templates(templates: Sequence[str]) -> None:
    """Raises InputError for a template that is not `{field}` text."""
    for template in templates:
        if template == EVERYTHING:
            continue
        try:
            parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise InputError(f"corpus.text: {template!r}: {error}") from None
        if not parts or not all(
            name and name.isidentifier() and not form and not change for _, name, form, change in parts
        ):
            raise InputError(f"corpus.text: {template!r} must name fields, as in '{{text}}'")


def _text(value: object, field: str, where: str) -> str:
    """A field's text; several texts become lines, and null is no text at all. Raises InputError for anything else."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    advice = "make text of it first, or name other fields in corpus.text"
    raise InputError(f"{where}: {field!r} holds {_kind_of(value)}, not text; {advice}")


def _kind_of(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return f"a number ({value})"
        case dict():
            return f"an object ({', '.join(map(str, value)) or 'empty'})"
        case list():
            kinds = [_kind_of(one) for one in value if not isinstance(one, str)]
            return f"a list with {kinds[0]}" if kinds else "a list"
        case str():
            return "a text"
    return f"a {type(value).__name__}"


def _formatted(template: str, fields: Sequence[str], record: dict[str, Any], where: str) -> str:
    return template.format(**{name: _text(record[name], name, where) for name in fields})


def _fitting(record: dict[str, Any], templates: Sequence[str]) -> str | None:
    """The first template whose fields all hold something, else the first whose fields are all there."""
    there = None
    for template in templates:
        names = list(record) if template == EVERYTHING else fields_of(template)
        if all(record.get(name) not in (None, "", []) for name in names):
            return template
        if there is None and all(name in record for name in names):
            there = template
    return there


def fill(record: object, templates: Sequence[str], where: str) -> str:
    """The text of a record by the first template that fits. Raises InputError naming `where`."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: a line must be a JSON object, this is {_kind_of(record)}")
    template = _fitting(record, templates)
    if template == EVERYTHING:
        text = "\n".join(_text(value, name, where) for name, value in record.items())
    elif template is not None:
        fields = fields_of(template)
        is_field = template == f"{{{fields[0]}}}"
        text = _text(record[fields[0]], fields[0], where) if is_field else _formatted(template, fields, record, where)
    if template is not None:
        check_characters(text, where)
        return text
    raise InputError(
        f"{where}: has none of the fields that corpus.text wants ({'; '.join(templates)});"
        f" it has {', '.join(map(str, record)) or 'no field'}"
    )
