"""What an evaluation leaves on disk, and what its numbers depend on."""

import hashlib
import os
import uuid
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmeff.errors import InputError
from lmeff.evaluation.scoring import pair_score
from lmeff.files import read_json, sha256_file, write_bytes, write_json
from lmeff.formats.result import pairs_path

_TOKENIZER_FILES = ("*token*.json", "vocab.*", "merges.txt", "*.model")

PAIR_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("pair", pa.int32()),
        ("good", pa.float64()),
        ("bad", pa.float64()),
        ("score", pa.float64()),
    ]
)
"""One row a minimal pair: its paradigm's task, its index in the published file, the log-probabilities of the acceptable
and the unacceptable sentence in nats, and 1, 0.5 or 0."""


def weights_sha256(folder: Path) -> str:
    """sha256 of `model.safetensors`; of shards, that of their names and hashes. Raises InputError without any."""
    single = folder / "model.safetensors"
    if single.is_file():
        return sha256_file(single)
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise InputError(f"{folder}: holds no safetensors weights")
    return digest_files(shards)


def digest_files(paths: Iterable[Path]) -> str:
    """sha256 over the names and contents of files."""
    lines = (f"{path.name} {sha256_file(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def model_files_sha256(folder: Path) -> str:
    """sha256 of what besides weights makes a model what it is: configuration and tokenizer."""
    return _files_sha256(folder, ("config.json", "generation_config.json", *_TOKENIZER_FILES))


def tokenizer_files_sha256(folder: Path) -> str:
    return _files_sha256(folder, _TOKENIZER_FILES)


def _files_sha256(folder: Path, patterns: Iterable[str]) -> str:
    return digest_files(sorted({path for pattern in patterns for path in folder.glob(pattern)}))


def scores_of(folder: Path, tasks: Iterable[str]) -> dict[str, float]:
    """`TASK/METRIC` and its value, for the tasks or groups that `folder` has a result of, without what is below them."""
    scores = {}
    for path in (folder / f"{task}.json" for task in tasks):
        content = read_json(path) if path.exists() else {"results": {}}
        values = {**content["results"], **(content.get("groups") or {})}.get(path.stem, {})
        for name, value in values.items():
            metric, comma, _ = name.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                scores[f"{path.stem}/{name.removesuffix(',none')}"] = float(value)
    return scores


def take_over(path: Path, folder: Path, beside: Sequence[str] = ()) -> None:
    """Copies the result `path.name` from another model's folder to `path`; first its side files, relative to the folder."""
    if folder != path.parent:
        for name in beside:
            write_bytes(path.parent / name, (folder / name).read_bytes())
        write_json(path, read_json(folder / path.name))


def requests_sha256(requests: Mapping[str, Iterable[Sequence[str]]]) -> str:
    """sha256 of what a model is asked, by task: equal ones mean comparable scores."""
    lines = []
    for task in sorted(requests):
        digest = hashlib.sha256()
        for texts in requests[task]:
            digest.update(("\x1f".join(texts) + "\x1e").encode())
        lines.append(f"{task} {digest.hexdigest()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pair_table(
    log_probabilities: Mapping[str, Sequence[float]],
    in_float32: Mapping[str, Sequence[bool]] | None = None,
    items: Mapping[str, Sequence[Hashable]] | None = None,
) -> pa.Table:
    """`PAIR_SCHEMA` rows; a column `in_float32` where not all of them are, and `item` where pairs share items.

    Args:
        log_probabilities: by task, those of the acceptable and the unacceptable sentence of each pair in turn.
        in_float32: by task, which of them were computed in float32; None for all.
        items: by task, what each pair was made from; None where every pair is an item of its own. In the table an item is the
            number of its first pair.
    """
    columns: dict[str, list] = {name: [] for name in PAIR_SCHEMA.names}
    for task, values in log_probabilities.items():
        good, bad = values[::2], values[1::2]
        columns["task"] += [task] * len(good)
        columns["pair"] += range(len(good))
        columns["good"] += good
        columns["bad"] += bad
        columns["score"] += map(pair_score, good, bad)
    table = pa.table(columns, schema=PAIR_SCHEMA)
    if items is not None:
        numbers: list[int] = []
        for task in log_probabilities:
            first: dict[Hashable, int] = {}
            numbers += [first.setdefault(item, number) for number, item in enumerate(items[task])]
        table = table.append_column("item", pa.array(numbers, pa.int32()))
    if in_float32 is None:
        return table
    flags = [flag for task in log_probabilities for flag in in_float32[task][::2]]
    return table.append_column("in_float32", pa.array(flags, pa.bool_()))


def write_table(path: Path, table: pa.Table) -> None:
    """Replaces a Parquet file; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(aside, "wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def has_pairs(path: Path, about: dict) -> bool:
    """Whether the pairs of a result, if it is one of minimal pairs, are beside it."""
    num_pairs, table = about.get("num_pairs"), pairs_path(path)
    return num_pairs is None or (table.is_file() and pq.read_metadata(table).num_rows == num_pairs)


def task_config(task: Any) -> dict:
    """The task's configuration without what names this machine."""
    config = task.config.to_dict(keep_callable=True)
    metadata, hidden = config.get("metadata") or {}, ("config_source", "data_paths", "tokenizer")
    config["metadata"] = {key: value for key, value in metadata.items() if key not in hidden}
    return config


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: functions by name, NaN and infinity as null, all else unknown as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
    return str(value)
