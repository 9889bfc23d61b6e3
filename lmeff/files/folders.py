"""Folders that are filled aside and renamed, so that nobody sees half of one, and what is in them by sha256."""

import ctypes
import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lmeff.errors import InputError, RunFailed, TooLittleText
from lmeff.files.reading import read_json
from lmeff.files.writing import path_aside, sync_to_disk

MANIFEST = "manifest.json"
"""In folders that may never change: sha256 and size of every other file. Written last, so that a folder with it is whole."""


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


def has_manifest(folder: Path) -> bool:
    """Whether a folder that is written whole or not at all is there."""
    return (folder / MANIFEST).exists()


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
    aside, replaced = path_aside(target), None
    aside.mkdir()
    try:
        yield aside
        # safetensors writes files that nobody else may read, whatever the umask.
        for path in aside.rglob("*"):
            if path.is_file():
                path.chmod(aside.stat().st_mode & 0o666)
            sync_to_disk(path)
        sync_to_disk(aside)
        if target.exists() and not _exchange(aside, target):
            replaced = path_aside(target)
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
    sync_to_disk(target.parent)


def bring_back(target: Path) -> bool:
    """Renames back a folder that a process left aside, whole, when it was killed between taking the old one away and putting
    the new one in its place. Either will do: whole is what holds every file of its own `manifest.json`. For whoever alone may
    make `target`. Returns whether there was one."""
    if target.exists():
        return False
    for leftover in sorted(target.parent.glob(f".{glob.escape(target.name)}.*.tmp")):
        if _is_whole(leftover):
            os.rename(leftover, target)
            sync_to_disk(target.parent)
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
        sync_to_disk(path)
    if target.exists():
        shutil.rmtree(target)
    os.rename(aside, target)
    sync_to_disk(target.parent)
