"""YAML to plain values, keeping the line of every key, so that a mistake found later can still say where it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from lmeff.errors import InputError
from lmeff.recipe.wording import one_line

KeyPath = tuple[str, ...]
COMMAND_LINE = "command line: "

# A recipe has some 60 values. The limits stop files that are something else, and aliases that multiply (YAML bombs).
MAX_BYTES = 100_000
MAX_VALUES = 10_000
MAX_DEPTH = 16

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_NOT_FINITE = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


@dataclass(frozen=True)
class Mark:
    """Where a value was written: a line of a file, or a word of the command line."""

    source: str
    """The file as the user named it, or `command line: KEY=VALUE`."""
    line: int | None = None
    text: str | None = None
    """A scalar as written, before YAML made `on` a boolean."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: the key it concerns, and the text shown after it."""

    path: KeyPath
    text: str
    mark: Mark | None = None
    """Where, when it is not where `path` was written."""


@dataclass
class Layer:
    """Plain values with the mark of every key and list item, and what was wrong on the way."""

    values: Any = None
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


def read_yaml(text: str, source: str, lines: bool = True) -> Layer:
    """Parses YAML 1.1 without its surprises: plain values only, no `<<`, no dates, no numbers to base 8 or 60.

    Raises InputError (one line) when there is nothing to go on with; smaller mistakes are in the layer.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"{_at(source, mark.line if mark and lines else None)}: not YAML: {_explain(error)}") from None
    except yaml.reader.ReaderError as error:
        where = _at(source, text.count("\n", 0, error.position) if lines else None)
        raise InputError(f"{where}: not YAML: a character that YAML does not allow ({error.character:#x})") from None
    except RecursionError:
        raise InputError(f"{source}: nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as an escape beyond Unicode, "\UFFFFFFFF"
        raise InputError(f"{source}: not YAML: {one_line(error)}") from None
    walk = _Walk(source, lines)
    if node is not None:
        walk.layer.values = walk.value(node, ())
    return walk.layer


def _at(source: str, line: int | None) -> str:
    return str(Mark(source, None if line is None else line + 1))


def _explain(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return one_line(", ".join(parts) or "unreadable")


class _Walk:
    """Turns YAML's nodes into values, noting where each came from."""

    def __init__(self, source: str, lines: bool) -> None:
        self.layer = Layer()
        self._source = source
        self._lines = lines
        self._num_values = 0
        self._open: set[int] = set()

    def _mark(self, node: yaml.Node) -> Mark:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        return Mark(self._source, node.start_mark.line + 1 if self._lines else None, text)

    def _mistake(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self.layer.mistakes.append(Mistake(path, text, self._mark(node)))

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise InputError(f"{self._mark(node)}: more than {MAX_VALUES} values; aliases (*name) multiply them")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._mistake(node, path, "refers to itself")
        if len(path) >= MAX_DEPTH:
            return self._mistake(node, path[:2], "nested too deeply")
        read: Callable[[Any, KeyPath], Any] = self._mapping if isinstance(node, yaml.MappingNode) else self._sequence
        self._open.add(id(node))
        try:
            return read(node, path)
        finally:
            self._open.remove(id(node))

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        self._check_tag(node, path, "seq")
        items = []
        for index, item in enumerate(node.value):
            here = (*path, str(index))
            self.layer.marks[here] = self._mark(item)
            items.append(self.value(item, here))
        return items

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._check_tag(node, path, "map")
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in values:
                self._mistake(key_node, here, f"given twice, first in line {self.layer.marks[here].line}")
            text = value_node.value if isinstance(value_node, yaml.ScalarNode) else None
            self.layer.marks[here] = Mark(self._source, self._mark(key_node).line, text)
            values[key] = self.value(value_node, here)
        return values

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._mistake(node, path, "a key must be plain text")
        elif node.tag == f"{_TAG}merge":
            self._mistake(node, path, "'<<' is not read here; put the shared part in a file that 'extends:' names")
        elif isinstance(key := self._scalar(node, path), str):
            return key
        elif type(key) is int:  # a number of tokens
            return str(node.value)
        else:
            written = one_line(node.value, 60)
            self._mistake(node, path, f'the key {written} is not text; write "{written}" with the quotes')
        return None

    def _check_tag(self, node: yaml.Node, path: KeyPath, *expected: str) -> bool:
        known = node.tag.removeprefix(_TAG) in expected
        if not known:
            self._mistake(node, path, f"the tag {one_line(node.tag.replace(_TAG, '!!'), 60)} is not read here")
        return known

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if not self._check_tag(node, path, "str", "null", "bool", "int", "float", "timestamp", "value", "merge"):
            return None
        text = node.value.encode("utf-8", "replace").decode()
        if text != node.value:  # a lone surrogate, from an escape such as "\ud800"
            self._mistake(node, path, f"'{one_line(node.value, 60)}' has a character that is none")
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return _BOOLEANS.get(text.lower(), text)
            case "int":
                return _number(int, text)
            case "float":
                return _number(float, _NOT_FINITE.get(text.lower(), text))
        return text


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text.replace("_", ""))
    except ValueError:  # 0x1F, 1:30 and numbers of thousands of digits stay text, and are judged where they are used
        return text
