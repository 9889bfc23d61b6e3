"""Files of text: plain text, JSON lines and tables, as they are or compressed, in folders and globs."""

import glob
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow

from lmeff.errors import InputError

TEXT_SUFFIXES = (".txt", ".train", ".dev", ".test")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIX = ".parquet"
_PACKED_SUFFIXES = (".gz", ".zst")


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


def kind(path: Path) -> str:
    """How a file is read, by its name: `text`, `jsonl`, `json` or `parquet`."""
    suffix = plain_name(path).suffix
    if suffix == TABLE_SUFFIX:
        return "parquet"
    if suffix in JSON_SUFFIXES:
        return "json" if suffix == ".json" else "jsonl"
    return "text"


def is_source(path: Path) -> bool:
    """Whether a file holds text, by its name."""
    return plain_name(path).suffix in TEXT_SUFFIXES + JSON_SUFFIXES or path.suffix == TABLE_SUFFIX


def find_files(paths: Sequence[str], key: str) -> list[Path]:
    """The files that `paths` name, sorted, each once. Folders are searched; globs may use `**`.

    Raises InputError naming `key` and the path that holds nothing to read.
    """
    found: dict[Path, Path] = {}
    mistakes = []
    for pattern in paths:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = [file for file in path.rglob("*") if file.is_file() and is_source(file)]
            missing = (
                f"folder has no {', '.join((*TEXT_SUFFIXES, *JSON_SUFFIXES, TABLE_SUFFIX))} file (plain, .gz or .zst)"
            )
        elif glob.has_magic(pattern):
            matches = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
            missing = "no file matches"
        else:
            matches = [path] if path.is_file() else []
            missing = "no such file or folder"
        unread = [file for file in matches if not is_source(file)]
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
        return gzip.open(path, "rt", encoding="utf-8-sig")
    if path.suffix == ".zst":
        # Arrow's reader, unlike zstandard's, complains when the file ends before its last frame does.
        return io.TextIOWrapper(pyarrow.input_stream(str(path), compression="zstd"), encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")
