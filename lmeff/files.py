"""Writing so that nothing half-written is ever read: write aside, fsync, rename. And reading text that people hand in."""

import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from lmeff.errors import InputError, RunFailed, TooLittleText
from lmeff.progress import shown

MANIFEST = "manifest.json"
"""In folders that may never change: sha256 and size of every other file. Written last, so that a folder with it is whole."""


def has_manifest(folder: Path) -> bool:
    """Whether a folder that is written whole or not at all is there."""
    return (folder / MANIFEST).exists()


def usable_folder(path: str | Path, key: str) -> Path:
    """The folder, made if missing. Raises InputError naming the recipe's `key` when it cannot be made or written to."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{key}: {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{key}: {path}: not writable")
    return path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def load_yaml(text: str) -> Any:
    """What `yaml.safe_load` returns, ten times as fast where PyYAML was built with its library in C, which words errors in
    another way."""
    import yaml

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def write_text(path: str | Path, text: str) -> None:
    """Replaces a file with `text` (UTF-8); a reader sees the old file or the new one."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replaces a file; a reader sees the old file or the new one."""
    _write_aside(Path(path), content, os.replace)


def write_new_bytes(path: str | Path, content: bytes) -> bool:
    """Writes a file that is not there yet; a reader sees none or all of it. Where another process was faster, its file stays,
    and the answer is False."""
    is_new: bool = _write_aside(Path(path), content, _link_as_new)
    return is_new


def remove_leftovers(folder: str | Path, pattern: str) -> None:
    """Removes what killed processes left aside of files of this pattern. For files that are all there and come by
    `write_new_bytes`: whoever is writing one of them now loses nothing, since the one that is there stays."""
    for leftover in Path(folder).glob(f".{pattern}.*.tmp"):
        with suppress(OSError):  # in a folder that others may only read
            leftover.unlink(missing_ok=True)


def _link_as_new(aside: Path, path: Path) -> bool:
    try:
        os.link(aside, path)
    except FileExistsError:
        is_new = False
    except OSError:  # of a file system without hard links
        is_new = not path.exists()
        if is_new:
            os.replace(aside, path)
    else:
        is_new = True
    aside.unlink(missing_ok=True)
    return is_new


def _write_aside(path: Path, content: bytes, put: Callable[[Path, Path], Any]) -> Any:
    """`put(aside, path)` gives what is written its name; returned is what it returns."""
    aside = _aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        done = put(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename:
            error.filename, error.filename2 = str(path), None  # nobody knows the other names
            if isinstance(error, FileExistsError | NotADirectoryError):
                error.strerror = "a file stands where its folder should be"
        raise
    _sync(path.parent)
    return done


def write_json(path: str | Path, value: Any) -> None:
    """Replaces a JSON file. NaN and infinity are refused (ValueError), since they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises InputError naming the file when it is missing or unreadable."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None


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


def sha256_file(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path, exclude: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """`{relative path: {sha256, bytes}}` of every file under `folder`, sorted; top-level names in `exclude` are left out."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in exclude:
            files[name.as_posix()] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    return files


@contextmanager
def new_folder(target: str | Path) -> Iterator[Path]:
    """A folder to fill. It becomes `target` on leaving, whole and synced to disk, or not at all when the body raises.

    One process at a time may make a `target`; what a killed one left aside is brought back (`bring_back`) or cleared away.
    """
    target = Path(target)
    parent_is_new = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    bring_back(target)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    aside, replaced = _aside(target), None
    aside.mkdir()
    try:
        yield aside
        # safetensors writes files that nobody else may read, whatever the umask.
        for path in aside.rglob("*"):
            if path.is_file():
                path.chmod(aside.stat().st_mode & 0o666)
            _sync(path)
        _sync(aside)
        if target.exists() and not _exchange(aside, target):
            replaced = _aside(target)
            os.rename(target, replaced)
        if replaced or not target.exists():
            os.rename(aside, target)
        shutil.rmtree(replaced or aside, ignore_errors=True)
    except BaseException:
        if replaced is not None and replaced.exists() and not target.exists():
            os.rename(replaced, target)
        shutil.rmtree(aside, ignore_errors=True)
        if parent_is_new:
            with suppress(OSError):
                target.parent.rmdir()
        raise
    _sync(target.parent)


def bring_back(target: Path) -> bool:
    """Renames back a folder that a process left aside, whole, when it was killed between taking the old one away and putting
    the new one in its place. Either will do: whole is what holds every file of its own `manifest.json`. For whoever alone may
    make `target`. Returns whether there was one."""
    if target.exists():
        return False
    for leftover in sorted(target.parent.glob(f".{glob.escape(target.name)}.*.tmp")):
        if _is_whole(leftover):
            os.rename(leftover, target)
            _sync(target.parent)
            return True
    return False


def _is_whole(folder: Path) -> bool:
    try:
        files = read_json(folder / MANIFEST)["files"]
        return all(sha256_file(folder / name) == entry["sha256"] for name, entry in files.items())
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return False


def _exchange(one: Path, other: Path) -> bool:
    """Gives two folders each other's name in one step, so that no moment is without either; False where the file system or the
    kernel cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here, exchange = ctypes.c_int(-100), ctypes.c_uint(2)  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


@contextmanager
def unfinished_folder(target: str | Path) -> Iterator[Path]:
    """A folder to fill, like `new_folder`, but what a killed process had filled is there again. An InputError clears it away:
    other input makes another folder, and this one would never be finished."""
    target = Path(target)
    aside = target.with_name(f".{target.name}.unfinished")
    parent_is_new = not target.parent.exists()
    aside.mkdir(parents=True, exist_ok=True)
    for leftover in (*aside.glob(".*.tmp"), aside / MANIFEST):
        leftover.unlink(missing_ok=True)
    try:
        yield aside
    except TooLittleText:
        raise
    except InputError:
        shutil.rmtree(aside, ignore_errors=True)
        if parent_is_new:
            with suppress(OSError):
                target.parent.rmdir()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RunFailed(
            f"{target.parent}: {error.strerror}; make room and run again, it goes on where it was"
        ) from None
    for path in aside.rglob("*"):
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    os.rename(aside, target)
    _sync(target.parent)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, waiting for whoever holds it; the kernel frees it when its owner dies."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with shown(f"waiting for another process ({path.name})"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
