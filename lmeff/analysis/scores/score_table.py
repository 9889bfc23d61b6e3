"""Learning curves in a plain CSV file: a row for each score, whoever measured it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lmeff.analysis.scores.observation import Observation, is_less_better
from lmeff.errors import InputError
from lmeff.intervals import is_share
from lmeff.quantities import parse_count, parse_number

FIELDS = (
    "tokens", "corpus", "family", "size", "parameters", "vocabulary", "seed", "tokens_per_step", "flops", "task", "metric",
    "value", "stderr", "n", "run", "phenomenon", "data", "settings", "unit",
)  # fmt: skip
"""What `--columns FIELD=COLUMN` may name."""

_OTHER_NAMES = {
    "tokens": ("nominal_tokens",),
    "corpus": ("dataset",),
    "size": ("model_size",),
    "parameters": ("num_parameters", "params"),
    "vocabulary": ("vocab_size",),
    "tokens_per_step": ("batch_tokens",),
    "value": ("acc", "accuracy", "score"),
}
"""Columns that are taken for a field without being named."""

PUBLISHED_HEADER = ("dataset", "model_size", "milestone", "vocab_size", "seed", "acc")
"""The published table of BLiMP's accuracy (ADA-research/lm-efficiency-analysis)."""
_PUBLISHED_COLUMNS = "tokens=milestone:M,corpus=dataset,size=model_size,vocabulary=vocab_size,seed=seed,value=acc"
_PUBLISHED_BATCHES = {"20m": 16_384, "60m": 65_536, "180m": 131_072}

FINAL = "final"
LARGEST_COUNT = 10**18


class Column(NamedTuple):
    name: str
    unit: str = ""
    """What one of its numbers counts: `M` for millions, `2M` for steps of two million tokens."""


def parse_columns(text: str) -> dict[str, Column]:
    """`tokens=milestone:M,corpus=dataset`: the column of each field. Raises InputError."""
    columns = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, column = part.partition("=")
        if not equals or not column:
            raise InputError(f"--columns {part}: FIELD=COLUMN is wanted, such as tokens=milestone:M")
        if field not in FIELDS:
            near = get_close_matches(field, FIELDS, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(FIELDS)}"
            raise InputError(f"--columns {part}: no field {field!r}{meant}")
        name, _, unit = column.partition(":")
        if unit and field not in ("tokens", "tokens_per_step", "parameters"):
            raise InputError(f"--columns {part}: only counts have a unit")
        columns[field] = Column(name, unit)
    return columns


def read_score_table(
    path: Path, columns: Mapping[str, Column], with_losses: bool = False
) -> tuple[list[Observation], list[str]]:
    """The scores of a CSV file, and lines that say how it was read. A row without a value is a missing score. `with_losses`
    takes a column of values of which less is better, too. Raises InputError naming file, line and column."""
    header, rows = _read_rows(path)
    is_published = set(header) == set(PUBLISHED_HEADER)
    named = {**(parse_columns(_PUBLISHED_COLUMNS) if is_published else _guessed(header, columns)), **columns}
    _check_columns(path, header, named, with_losses)
    places = {field: header.index(column.name) for field, column in named.items()}
    cells = [{field: row[place].strip() for field, place in places.items()} for _, row in rows]
    values = [_number(path, line, named["value"], cell["value"]) for (line, _), cell in zip(rows, cells, strict=True)]
    batch_of = _PUBLISHED_BATCHES if is_published else {}
    by_line = {
        line: _observation(path, line, named, cell, value, batch_of, "blimp" if is_published else "score")
        for (line, _), cell, value in zip(rows, cells, values, strict=True)
        if value is not None
    }
    if not by_line:
        raise InputError(f"{path}: no row has a number in column {named['value'].name}")
    _check_units(path, by_line)
    found = list(by_line.values())
    found, notes = _as_shares(path, found, only_known=with_losses)
    if without := [line for (line, _), value in zip(rows, values, strict=True) if value is None]:
        number = "1 row has" if len(without) == 1 else f"{len(without):,} rows have"
        notes.append(f"{path.name}:{without[0]}: {number} no number in column {named['value'].name}: missing scores")
    if is_published:
        notes.append(
            f"{path.name}: known by its header; tokens per step 16,384 / 65,536 / 131,072 for 20m / 60m / 180m"
        )
    return found, notes


def header_of(path: Path) -> list[str]:
    """The names of a CSV file's columns; none of a file that is no CSV."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and rows with their line numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV ({' '.join(str(error).split())})") from None
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}:{line}: {len(row)} columns where the header has {len(header)}")
    return header, rows


def _guessed(header: Sequence[str], columns: Mapping[str, Column]) -> dict[str, Column]:
    """Fields whose column nobody named, by the usual names."""
    taken = {column.name for column in columns.values()}
    found = {}
    for field in FIELDS:
        name = next(
            (name for name in (field, *_OTHER_NAMES.get(field, ())) if name in header and name not in taken), None
        )
        if field not in columns and name is not None:
            found[field] = Column(name)
    return found


def _check_columns(path: Path, header: Sequence[str], named: Mapping[str, Column], with_losses: bool) -> None:
    mistakes = []
    if not with_losses and "value" in named and is_less_better(named["value"].name):
        mistakes.append(
            f"{path}: column {named['value'].name!r}: less of it is better, as the name says; scores are wanted, of which"
            " more is better"
        )
    for field, column in named.items():
        if column.name not in header:
            near = get_close_matches(column.name, header, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            mistakes.append(f"{path}: no column {column.name!r} for {field}; it has {', '.join(header)}{meant}")
    for field in ("tokens", "value"):
        if field not in named:
            example = "tokens=milestone:M" if field == "tokens" else "value=acc"
            mistakes.append(f"{path}: which column has {field}? --columns {example}; it has {', '.join(header)}")
    if mistakes:
        raise InputError(*mistakes)


def _number(path: Path, line: int, column: Column, text: str) -> float | None:
    """None for a cell that is empty or says that there is no number."""
    if text.lower() in ("", "nan", "na", "n/a", "null", "none", "-"):
        return None
    try:
        return _parsed(text)
    except ValueError as error:
        raise InputError(f"{path}:{line}: {column.name}: {error}") from None


_parsed = lru_cache(maxsize=100_000)(parse_number)
"""Seeds, sizes and tokens are the same in thousands of rows."""


def _count(path: Path, line: int, column: Column, text: str) -> int | None:
    if (number := _number(path, line, column, text)) is None:
        return None
    unit = 1
    if column.unit:
        wrong = f"{path}:{line}: --columns {column.name}:{column.unit}: a unit is K, M, B or a number such as 2M"
        try:
            unit = parse_count(column.unit if column.unit[0].isdigit() else f"1{column.unit}")
        except ValueError:
            raise InputError(wrong) from None
        if not unit:
            raise InputError(f"{wrong}, and not 0")
    if not 0 <= number * unit <= LARGEST_COUNT:
        raise InputError(f"{path}:{line}: {column.name}: {text} is no number from 0 to {LARGEST_COUNT:.0e}")
    return round(number * unit)


def _as_shares(path: Path, found: Sequence[Observation], only_known: bool) -> tuple[list[Observation], list[str]]:
    """The scores as shares of 1, each task and metric by itself, and lines that say how they were written. What is named as
    something of which less is better stays as it is, and so does a metric that is not known to be a share. Where a table has
    no other scores and not `only_known` are taken, its scores must be shares or percent."""
    values: dict[tuple[str, str], list[float]] = {}
    for one in found:
        values.setdefault((one.task, one.metric), []).append(one.value)
    known = {key for key in values if is_share(key[1])}
    as_they_are = values.keys() - known if known or only_known else set()
    scales = {
        key: _scale(str(path) if len(values) == 1 else f"{path}: {key[0]} ({key[1]})", numbers)
        for key, numbers in values.items()
        if not is_less_better(*key) and key not in as_they_are
    }
    said = list(dict.fromkeys(line for _, line in scales.values()))
    if len(said) < 2:
        notes = [f"{path.name}: {line}" for line in said]
    else:
        notes = [f"{path.name}: {task} ({metric}): {line}" for (task, metric), (_, line) in scales.items()]
    if kept := sorted({metric for task, metric in as_they_are if not is_less_better(task, metric)}):
        notes.append(f"{path.name}: as they are, since they are not known as shares: {', '.join(kept)}")
    percent = {key for key, (scale, _) in scales.items() if scale != 1}
    shares = [
        replace(one, value=one.value / 100, stderr=None if one.stderr is None else one.stderr / 100)
        if (one.task, one.metric) in percent
        else one
        for one in found
    ]
    return shares, notes


def _scale(where: str, values: Sequence[float]) -> tuple[float, str]:
    """By what scores are divided to be shares of 1, and a line that says so."""
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    if lowest >= -1 and highest <= 1:
        return 1.0, "scores are shares of 1"
    if lowest >= 0 and highest <= 100:
        return 100.0, "scores are in percent"
    raise InputError(
        f"{where}: values from {lowest:g} to {highest:g} are neither shares of 1 nor percent; scores are wanted,"
        " of which more is better"
    )


def _observation(
    path: Path,
    line: int,
    named: Mapping[str, Column],
    cell: Mapping[str, str],
    value: float,
    batch_of: Mapping[str, int],
    task: str,
) -> Observation:
    def count(field: str) -> int | None:
        return _count(path, line, named[field], cell[field]) if field in named else None

    def number(field: str) -> float | None:
        return _number(path, line, named[field], cell[field]) if field in named else None

    tokens = None if cell["tokens"].lower() == FINAL else count("tokens")
    if tokens is None and cell["tokens"].lower() != FINAL:
        raise InputError(f"{path}:{line}: {named['tokens'].name}: a number of tokens or 'final' is wanted")
    size = cell.get("size", "-")
    parameters = count("parameters")
    if parameters is None and "size" in named:
        try:
            parameters = parse_count(size)
        except ValueError:
            parameters = None
    named_size = "size" if cell.get("size") else "parameters"
    words = [cell[field] for field in ("run", "corpus", "family", named_size, "vocabulary") if cell.get(field)]
    return Observation(
        cell=" ".join(words) or path.stem,
        seed=cell.get("seed") or "0",
        tokens=tokens,
        task=cell.get("task") or task,
        metric=cell.get("metric") or _metric_of(named["value"]),
        value=value,
        corpus=cell.get("corpus") or "-",
        family=cell.get("family") or "-",
        size=size,
        num_parameters=parameters,
        vocab_size=count("vocabulary"),
        tokens_per_step=count("tokens_per_step") or batch_of.get(size),
        flops=number("flops"),
        stderr=number("stderr"),
        n=count("n"),
        phenomenon=cell.get("phenomenon") or None,
        data=cell.get("data") or None,
        settings=cell.get("settings") or None,
        unit=cell.get("unit") or "tokens",
    )


def _check_units(path: Path, by_line: Mapping[int, Observation]) -> None:
    """No curve goes along words and tokens."""
    units: dict[str, str] = {}
    for line, one in by_line.items():
        if (unit := units.setdefault(one.cell, one.unit)) != one.unit:
            raise InputError(
                f"{path}:{line}: unit: {one.cell} counts {one.unit} here and {unit} above; what counts otherwise is another"
                " recipe (--columns run=COLUMN)"
            )


def _metric_of(column: Column) -> str:
    """What values are where nothing says it: losses by the name of their column, and else accuracies."""
    return column.name if is_less_better(column.name) else "acc"
