"""Scores of whatever lies at the given paths: folders of runs and of results, and plain tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.scores.blimp_tables import with_groups
from lmeff.analysis.scores.observation import Observation, check_no_duplicates, observations_of
from lmeff.analysis.scores.score_table import header_of, parse_columns, read_score_table
from lmeff.analysis.scores.table_runs import runs_of_table, seed_note
from lmeff.analysis.scores.ways import WAYS, one_way_each
from lmeff.errors import InputError


class Scored(NamedTuple):
    """What lies at some paths."""

    runs: list[Run]
    """Those of tables among them."""
    observations: list[Observation]
    notes: list[str]
    """Lines that say how they were read."""


class Measured(NamedTuple):
    """Everything that was measured at some paths, losses and paradigms among it."""

    runs: list[Run]
    observations: list[Observation]
    """Of plain tables alone."""
    notes: list[str]
    """How these were read."""


def read_scored(paths: Sequence[str | Path], columns: str = "") -> Scored:
    """All runs with their scores. `columns` (`tokens=milestone:M,...`) are of the tables. Raises InputError with a line for
    every mistake, and for scores that are there twice."""
    runs, of_runs, tables, notes = _read(paths, columns)
    every = [*of_runs, *(one for observations in tables.values() for one in observations)]
    check_no_duplicates(every, *WAYS)
    for path, observations in tables.items():
        drawn, said = one_way_each(observations)
        runs += runs_of_table(path, drawn)
        notes += [*said, *seed_note(path, drawn)]
    return Scored(runs, every, notes)


def read_measured(paths: Sequence[str | Path], columns: str = "") -> Measured:
    """Runs, and all rows of plain tables. Raises InputError with a line for every mistake."""
    files, folders = files_and_folders(paths)
    tables, notes = _read_tables(files, columns, with_losses=True)
    observations = [one for of_table in tables.values() for one in of_table]
    return Measured(read_runs(folders) if folders else [], observations, notes)


def read_observations(paths: Sequence[str | Path], columns: str = "") -> tuple[list[Observation], list[str]]:
    """All scores, and lines that say how they were read. Raises InputError, also where folders hold no score."""
    _, of_runs, tables, notes = _read(paths, columns)
    if not of_runs and not tables:
        raise InputError(f"{', '.join(map(str, dict.fromkeys(paths)))}: no scores here; lmeff eval RUN makes some")
    return [*of_runs, *(one for observations in tables.values() for one in observations)], notes


def _read(
    paths: Sequence[str | Path], columns: str
) -> tuple[list[Run], list[Observation], dict[Path, list[Observation]], list[str]]:
    """Runs in folders, their scores, the scores of each table, and notes."""
    files, folders = files_and_folders(paths)
    tables, said_of_tables = _read_tables(files, columns)
    runs = read_runs(folders) if folders else []
    observations, said = observations_of(runs)
    notes = [*(line for run in runs for line in run.left_out), *said, *said_of_tables]
    return runs, observations, tables, notes


def _read_tables(
    files: Sequence[Path], columns: str, with_losses: bool = False
) -> tuple[dict[Path, list[Observation]], list[str]]:
    """The rows of each table. Of several tables each takes the columns that it has; what none of them has is a mistake."""
    if columns and not files:
        raise InputError("--columns: are those of a CSV file, and no PATH is one")
    named = parse_columns(columns)
    headers = [set(header_of(path)) for path in files]
    known = set().union(*headers)
    tables: dict[Path, list[Observation]] = {}
    notes: list[str] = []
    for path, header in zip(files, headers, strict=True):
        own = {field: column for field, column in named.items() if column.name in header or column.name not in known}
        scores, said = read_score_table(path, own, with_losses)
        tables[path], said_of_groups = with_groups(path.name, scores)
        notes += [*said, *said_of_groups]
    return tables, notes


def files_and_folders(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Which paths are tables and which are folders. Raises InputError for those that are not there."""
    every = list(dict.fromkeys(map(Path, paths)))
    missing = [f"{path}: no such file or folder" for path in every if not path.exists()]
    if missing:
        raise InputError(*missing)
    return [path for path in every if not path.is_dir()], [path for path in every if path.is_dir()]
