"""For the Slurm templates: `python -m lmeff.command_line.run_folder [--begun] WORDS` prints the run folder of a task.

WORDS are run folders, or a sweep (a file, or the name of one that comes with lmeff) and keys for all of its cases. Task N of an
array, as SLURM_ARRAY_TASK_ID says, has the Nth of them, counted from 0. With `--begun` a case is waited for until its run has
begun, which it does as a job of its own. Exit code 2 and a line when something is wrong.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lmeff.errors import EXIT_INPUT, InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.sweeps.cases import read_sweep
from lmeff.sweeps.reading import is_sweep

_POLL_SECONDS = 5.0


def folder_of_task(words: Sequence[str], task: str | None) -> str:
    """Of an array's task or, without an array, of a job for a single run. Raises InputError."""
    folders = _folders(words)
    if not folders:
        raise InputError("no run folders given, and no sweep")
    if task is None and len(folders) > 1:
        raise InputError(f"{len(folders)} run folders, but no array; give --array=0-{len(folders) - 1}")
    number = int(task or 0)
    if number >= len(folders):
        raise InputError(f"task {number}, but {len(folders)} run folders: --array counts from 0")
    return folders[number]


def _folders(words: Sequence[str]) -> list[str]:
    if not _names_sweep(words):
        return list(words)
    return [str(case.run) for case in read_sweep(words[0], words[1:]).cases]


def _names_sweep(words: Sequence[str]) -> bool:
    return bool(words) and not Path(words[0]).is_dir() and is_sweep(words[0], words[1:])


def wait_for_run(folder: str, poll_seconds: float = _POLL_SECONDS) -> None:
    """Returns when a run has begun in the folder, which is said to be waited for."""
    if not RunFolder(Path(folder)).recipe_yaml.is_file():
        print(f"{folder}: has not begun yet; waiting for it", file=sys.stderr, flush=True)
    while not RunFolder(Path(folder)).recipe_yaml.is_file():
        time.sleep(poll_seconds)


def main(argv: Sequence[str]) -> int:
    """Returns the exit code."""
    words = [word for word in argv if word != "--begun"]
    try:
        folder = folder_of_task(words, os.environ.get("SLURM_ARRAY_TASK_ID"))
        if len(words) < len(argv) and _names_sweep(words):
            wait_for_run(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
