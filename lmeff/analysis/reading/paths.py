"""Which runs, and results of other models, lie at or under given paths."""

import os
from collections.abc import Sequence
from pathlib import Path

from lmeff.analysis.reading.context_starts import with_one_context_start
from lmeff.analysis.reading.held_out import with_one_held_out_text
from lmeff.analysis.reading.other_models import read_collections, result_folders
from lmeff.analysis.reading.runs import Run, read_run
from lmeff.errors import InputError
from lmeff.formats.anchor import ANCHOR
from lmeff.formats.run_folder import RunFolder


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Every run at or under the given paths, each once, in the order of the paths, then the models that are no run of ours.
    Results that cannot be compared with the others' are left out (`Run.left_out`).

    Raises InputError with one line for each path that does not exist or holds no run, and for a damaged file.
    """
    folders, collected = find_folders(paths)
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.resolve(), folder)
    return with_one_context_start([*map(read_one_run, unique.values()), *read_collections(collected)])


def read_one_run(folder: Path) -> Run:
    """One run folder, without the held-out losses that cannot be compared with its last one (`Run.left_out`). Raises InputError
    for a damaged file."""
    return with_one_held_out_text(read_run(folder))


def find_folders(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Folders of runs, and of results of other models, at or under the given paths.

    Raises InputError with one line for each path that does not exist or holds neither.
    """
    mistakes, folders, collected = [], [], []
    for path in map(Path, paths):
        if not path.is_dir():
            mistakes.append(f"{path}: {'not a folder' if path.exists() else 'no such folder'}")
            continue
        runs, results = _run_folders(path), result_folders(path)
        if not runs and not results:
            mistakes.append(
                f"{path}: no run here; a run folder such as outputs/NAME/seed-0 holds plan.json or state.json"
            )
        folders += runs
        collected += results
    if not paths:
        mistakes.append("no run folder was named")
    if mistakes:
        raise InputError(*mistakes)
    return folders, collected


def _is_run(folder: Path) -> bool:
    if (folder / ANCHOR).exists():  # a revision, which holds a recipe too
        return False
    run = RunFolder(folder)
    return run.plan_json.is_file() or run.state_json.is_file() or run.has_revisions


def _run_folders(top: Path) -> list[Path]:
    """Run folders at or under `top`; what is inside one (parts, revisions) is never a run of its own."""
    runs = []
    for path, below, _ in os.walk(top):
        if _is_run(Path(path)):
            runs.append(Path(path))
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return runs
