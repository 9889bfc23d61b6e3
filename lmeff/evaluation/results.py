"""What an evaluation leaves on disk, and what its numbers depend on."""

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmeff.errors import InputError
from lmeff.files import read_json, sha256_file, write_bytes, write_json

_TOKENIZER_FILES = ("*token*.json", "vocab.*", "merges.txt", "*.model")


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


def copy_result(path: Path, folder: Path, beside: Sequence[str] = ()) -> None:
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
