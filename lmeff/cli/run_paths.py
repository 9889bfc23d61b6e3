"""Paths as verbs about learning curves take them: a sweep file stands for the runs of its cases."""

from collections.abc import Sequence
from pathlib import Path

from lmeff.errors import InputError

_RECIPE_ENDINGS = (".yaml", ".yml")


def with_runs_of_sweeps(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths, with the run folders of its cases in place of every sweep file, and a line for each sweep of which some cases
    have not begun. Raises InputError for a file that is no sweep, and for a sweep without a run."""
    found: list[str] = []
    notes: list[str] = []
    for path in paths:
        if not (Path(path).suffix in _RECIPE_ENDINGS and Path(path).is_file()):
            found.append(path)
            continue
        from lmeff.sweeps.cases import read_sweep

        cases = read_sweep(path).cases
        begun = [case.run.path for case in cases if case.run.path.is_dir()]
        if not begun:
            raise InputError(f"{path}: none of its {len(cases)} cases has begun; lmeff sweep run {path}")
        if len(begun) < len(cases):
            notes.append(f"{path}: {len(cases) - len(begun)} of {len(cases)} cases have not begun")
        found += map(str, begun)
    return found, notes
