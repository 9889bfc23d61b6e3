"""Prompts: one a line of a text file, or JSON lines with what is expected after them and which of them mean the same."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError

DEFAULT_PROMPTS = Path(__file__).parent / "prompts.jsonl"
_KEYS = ("prompt", "expected", "group")


@dataclass(frozen=True)
class Prompt:
    text: str
    expected: tuple[str, ...] = ()
    """Completions that are right, any of them."""
    group: str | None = None
    """Prompts of one group should be answered alike."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file; `.jsonl` and `.json` are JSON lines. Raises InputError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"--prompts: {path}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise InputError(f"--prompts: {path}: {error.strerror}") from None
    is_json = path.suffix in (".jsonl", ".ndjson", ".json")
    found: dict[str, Prompt] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            prompt = _parse(line, f"--prompts: {path}:{number}") if is_json else Prompt(line.strip())
            if prompt.text in found:
                raise InputError(f"--prompts: {path}:{number}: stands there already: {prompt.text!r}")
            found[prompt.text] = prompt
    if not found:
        raise InputError(f"--prompts: {path}: holds no prompt")
    sizes = Counter(prompt.group for prompt in found.values() if prompt.group is not None)
    if alone := [group for group, size in sizes.items() if size < 2]:
        raise InputError(f"--prompts: {path}: group {alone[0]!r} has one prompt; it takes two to agree")
    return list(found.values())


def _parse(line: str, where: str) -> Prompt:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str) or not record["prompt"].strip():
        raise InputError(f"{where}: must be an object with a text called prompt")
    if unknown := [key for key in record if key not in _KEYS]:
        raise InputError(f"{where}: {unknown[0]!r} is none of {', '.join(_KEYS)}")
    expected = record.get("expected", [])
    expected = [expected] if isinstance(expected, str) else expected
    if not isinstance(expected, list) or not all(isinstance(answer, str) and answer.strip() for answer in expected):
        raise InputError(f"{where}: expected must be a list of texts")
    if not isinstance(group := record.get("group"), str | None):
        raise InputError(f"{where}: group must be a name")
    for text in (record["prompt"], *expected):
        check_characters(text, where)
    return Prompt(record["prompt"], tuple(expected), group)
