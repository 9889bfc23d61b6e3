"""Prompts: one a line of a text file, or JSON lines with what is expected after them and which of them mean the same."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError
from lmeff.files import parse_json, text_lines

DEFAULT_PROMPTS = Path(__file__).parent / "prompts.jsonl"


@dataclass(frozen=True)
class Prompt:
    text: str
    expected: tuple[str, ...] = ()
    """Completions that are right, any of them."""
    group: str | None = None
    """Prompts of one group should be answered alike."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file; `.jsonl` and `.json` are JSON lines. Raises InputError naming file and line."""
    is_json = path.suffix in (".jsonl", ".ndjson", ".json")
    prompts: dict[str, Prompt] = {}
    for number, line in _lines(path):
        prompt = _parse(line, f"--prompts: {path}:{number}") if is_json else Prompt(line.strip())
        if prompt.text in prompts:
            raise InputError(f"--prompts: {path}:{number}: stands there already: {prompt.text!r}")
        prompts[prompt.text] = prompt
    if not prompts:
        raise InputError(f"--prompts: {path}: holds no prompt")
    sizes = Counter(prompt.group for prompt in prompts.values() if prompt.group is not None)
    if alone := [group for group, size in sizes.items() if size < 2]:
        raise InputError(f"--prompts: {path}: group {alone[0]!r} has one prompt; it takes two to agree")
    return list(prompts.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from text_lines(path)
    except InputError as error:
        raise InputError(f"--prompts: {error}") from None


def _parse(line: str, where: str) -> Prompt:
    """A line of JSON. A null is as if nothing stood there; other fields than ours are not read."""
    record = parse_json(line, where)
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str) or not record["prompt"].strip():
        raise InputError(f"{where}: must be an object with a text called prompt")
    expected = [] if record.get("expected") is None else record["expected"]
    expected = [expected] if isinstance(expected, str) else expected
    if not isinstance(expected, list) or not all(isinstance(answer, str) and answer.strip() for answer in expected):
        raise InputError(f"{where}: expected must be a list of texts")
    if not isinstance(group := record.get("group"), str | None):
        raise InputError(f"{where}: group must be a name")
    for text in (record["prompt"], *expected):
        check_characters(text, where)
    return Prompt(record["prompt"], tuple(expected), group)
