"""Files of text: plain text, JSON lines and tables, as they are or compressed, in folders and globs."""

import glob
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lmeff.errors import InputError
from lmeff.files import not_utf8
from lmeff.paths import expanded
from lmeff.recipe.input_paths import where_looked

TEXT_SUFFIXES = (".txt", ".train", ".dev", ".test")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIX = ".parquet"
_PACKED_SUFFIXES = (".gz", ".zst")
_TABLE_ADVICE = (
    "write it as Parquet, as by pandas.read_csv('x.csv').to_parquet('x.parquet'), and name its column in corpus.text"
)
_ADVICE = {
    ".csv": _TABLE_ADVICE,
    ".tsv": _TABLE_ADVICE.replace("'x.csv'", "'x.tsv', sep='\\t'"),
    ".xlsx": _TABLE_ADVICE.replace("read_csv('x.csv')", "read_excel('x.xlsx')"),
    ".arrow": "write it as Parquet, as by datasets.Dataset.from_file('x.arrow').to_parquet('x.parquet')",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".md": "name it .txt",
    ".xz": "pack it as .gz or .zst, or unpack it",
    ".bz2": "pack it as .gz or .zst, or unpack it",
    ".7z": "unpack it",
}
"""By a name's ending: how what is not read becomes text that is."""


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


def find_files(paths: Sequence[str], key: str, with_hidden: bool = False) -> list[Path]:
    """The files that `paths` name, sorted, each once. Folders are searched but for what is hidden; globs may use `**`.

    Raises InputError naming `key` and the path that holds nothing to read. `with_hidden`: as older versions read folders.
    """
    found: dict[Path, Path] = {}
    mistakes = []
    for pattern in paths:
        try:
            matches = _matches(expanded(pattern), with_hidden)
        except InputError as error:
            mistakes.append(f"{key}: {error}")
            continue
        found.update((file.resolve(), file) for file in matches)
    if mistakes:
        raise InputError(*mistakes)
    return sorted(found.values(), key=lambda file: file.as_posix())


def _matches(pattern: str, with_hidden: bool) -> list[Path]:
    """The files of text that one path names. Raises InputError."""
    path = Path(pattern)
    if path.is_dir():
        return _in_folder(path, with_hidden)
    # A name with brackets is a pattern only where it is no file's.
    matches = (
        [path]
        if path.is_file()
        else [file for file in map(Path, glob.iglob(pattern, recursive=True)) if file.is_file()]
    )
    if not matches:
        raise InputError(f"{pattern}: {_why_missing(pattern)}{where_looked(pattern)}")
    if unread := [file for file in matches if not is_source(file)]:
        raise InputError(f"{unread[0]}: {_why_unread(unread[0])}")
    return matches


def _in_folder(folder: Path, with_hidden: bool) -> list[Path]:
    visible = [
        file
        for file in folder.rglob("*")
        if file.is_file() and (with_hidden or not any(part.startswith(".") for part in file.relative_to(folder).parts))
    ]
    if saved := next((file.parent for file in visible if file.suffix == ".arrow" and _is_saved(file.parent)), None):
        raise InputError(f"{saved}: is a data set of `datasets.save_to_disk`, which is not read; {_to_parquet(saved)}")
    if matches := [file for file in visible if is_source(file)]:
        return matches
    missing = f"folder has no {', '.join((*TEXT_SUFFIXES, *JSON_SUFFIXES, TABLE_SUFFIX))} file (plain, .gz or .zst)"
    other = next((file for file in sorted(visible) if plain_name(file).suffix in _ADVICE), None)
    raise InputError(f"{folder}: {missing}" + (f"; {other.name}: {_why_unread(other)}" if other else ""))


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def _to_parquet(folder: Path) -> str:
    """How a data set that `datasets` wrote becomes a table."""
    return f"write it as Parquet: datasets.load_from_disk('{folder}').to_parquet('{folder.name}.parquet')"


def _why_missing(pattern: str) -> str:
    if not glob.has_magic(pattern):
        return "no such file or folder"
    if glob.glob(glob.escape(pattern).replace("[*]", "*").replace("[?]", "?"), recursive=True):
        return f"no file matches, since [ ] hold a choice of characters; to mean the brackets write {_escaped(pattern)}"
    return "no file matches"


def _escaped(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _why_unread(path: Path) -> str:
    known = "a text or JSON-lines file by its name (.txt, .jsonl; .gz or .zst after it) or a table (.parquet)"
    advice = _ADVICE.get(plain_name(path).suffix)
    return f"not {known}" + (f"; {advice}" if advice else "")


def _unpacked(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".zst":
        # Arrow's reader, unlike zstandard's, complains when the file ends before its last frame does.
        import pyarrow  # brings NumPy along, which looking for files does not need

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return open(path, "rb")


def open_text(path: Path) -> IO[str]:
    """A file's text, unpacked on the way."""
    return io.TextIOWrapper(_unpacked(path), encoding="utf-8-sig")


def not_utf8_text(path: Path) -> str:
    """Where a file, unpacked, is not UTF-8."""
    return not_utf8(path, _unpacked(path))
