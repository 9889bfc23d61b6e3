"""Files that are written aside, synced and renamed, and locks that processes wait for."""

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lmeff.progress import shown


def write_text(path: str | Path, text: str) -> None:
    """Replaces a file with `text` (UTF-8); a reader sees the old file or the new one."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Replaces a JSON file. NaN and infinity are refused (ValueError), since they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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
    aside = path_aside(path)
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
    sync_to_disk(path.parent)
    return done


def path_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def sync_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
