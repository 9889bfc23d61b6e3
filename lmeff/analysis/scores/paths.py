"""Scores of whatever lies at the given paths: folders of runs and of results, and plain tables."""

from collections.abc import Sequence
from pathlib import Path

from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.scores.observation import Observation, observations_of
from lmeff.analysis.scores.score_table import parse_columns, read_score_table
from lmeff.errors import InputError


def read_observations(paths: Sequence[str | Path], columns: str = "") -> tuple[list[Observation], list[str]]:
    """All scores, and lines that say how they were read. `columns` (`tokens=milestone:M,...`) are of the tables. Raises
    InputError with a line for every mistake."""
    files, folders = files_and_folders(paths)
    if columns and not files:
        raise InputError("--columns: are those of a CSV file, and no PATH is one")
    named = parse_columns(columns)
    found: list[Observation] = []
    notes: list[str] = []
    if folders:
        runs = read_runs(folders)
        observations, said = observations_of(runs)
        found += observations
        notes += [*(line for run in runs for line in run.left_out), *said]
        if not observations and not files:
            raise InputError(f"{', '.join(map(str, folders))}: no scores here; lmeff eval RUN makes some")
    for path in files:
        observations, said = read_score_table(path, named)
        found += observations
        notes += said
    return found, notes


def files_and_folders(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Which paths are tables and which are folders. Raises InputError for those that are not there."""
    every = list(dict.fromkeys(map(Path, paths)))
    missing = [f"{path}: no such file or folder" for path in every if not path.exists()]
    if missing:
        raise InputError(*missing)
    return [path for path in every if not path.is_dir()], [path for path in every if path.is_dir()]
