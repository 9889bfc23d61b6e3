"""What teachers say of every sequence of a text, on disk: shards of equal records, written whole or not at all, and a manifest
with their sha256 that is written last."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmeff.files import MANIFEST, has_manifest, read_json, remove_leftovers, sha256_file, write_json, write_new_bytes
from lmeff.formats.manifest import FileEntry
from lmeff.methods.distillation.costs import bytes_per_position
from lmeff.methods.distillation.sources import TeacherSource
from lmeff.methods.distillation.terms import SampledTerm, TeacherTerm, TopKTerm
from lmeff.objectives import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.tokens import Tokens, positions_per_epoch

CACHE_FORMAT = 1
"""Raised whenever the same teachers and text would give other records."""
SHARD_POSITIONS = 1 << 18
"""About so many positions lie in a file, which is what a killed process has to do again at most."""


def record_of(recipe: Recipe) -> np.dtype:
    """What is kept of a position: ids, what the term of the kind needs of each, and for `top_k` one number more."""
    cache, entries = recipe.distillation.cache, recipe.model_vocab_size
    num_kept = cache.num_kept(entries)
    fields: list[Any] = [("ids", "<u2" if entries <= 1 << 16 else "<u4", (num_kept,)), ("values", "<f2", (num_kept,))]
    record = np.dtype([*fields, ("log_sum_exp", "<f4")] if cache.kind == "top_k" else fields)
    assert record.itemsize == bytes_per_position(recipe)
    return record


@dataclass(frozen=True)
class TeacherCache:
    """Of one length of sequences: what the teachers say of each piece that sequences are cut to, row by row."""

    folder: Path
    length: int
    num_rows: int
    rows_per_shard: int
    record: np.dtype
    facts: dict[str, Any]
    """What it depends on; its folder is named after them."""

    @classmethod
    def of(
        cls, recipe: Recipe, tokens: Tokens, sources: Sequence[TeacherSource], length: int, precision: str
    ) -> "TeacherCache":
        """`precision`: what the teachers compute in."""
        settings, batch = recipe.distillation, recipe.batch
        per_sequence = batch.sequence_length // length
        # Whole sequences, so that whoever fills a shard reads nothing twice.
        rows_per_shard = max(1, SHARD_POSITIONS // batch.sequence_length) * per_sequence
        num_sequences = positions_per_epoch(tokens, batch) // batch.sequence_length
        record = record_of(recipe)
        facts = {
            "format": CACHE_FORMAT,
            "teachers": [source.sha256 for source in sources],
            "tokens": tokens.fingerprint,
            "packing": batch.packing,
            "sequence_length": batch.sequence_length,
            "length": length,
            "document_mask": batch.document_mask,
            "temperature": settings.temperature,
            "average": settings.average,
            "entries": recipe.model_vocab_size,
            "kind": settings.cache.kind,
            "k": record["ids"].shape[0],
            "precision": precision,
            "rows_per_shard": rows_per_shard,
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        return cls(
            folder=tokens.folder / "teachers" / f"{settings.cache.kind}-{length}-{key}",
            length=length,
            num_rows=num_sequences * per_sequence,
            rows_per_shard=rows_per_shard,
            record=record,
            facts=facts,
        )

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // self.rows_per_shard)

    def shard(self, number: int) -> Path:
        return self.folder / f"{number:05}.bin"

    def rows_of(self, number: int) -> range:
        """The rows of a shard."""
        first = number * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.num_rows))

    # ------------------------------------------------------------------ writing

    def missing(self) -> list[int]:
        """The shards that are not there yet."""
        return [number for number in range(self.num_shards) if not self.shard(number).exists()]

    def write_shard(self, number: int, records: np.ndarray) -> bool:
        """`records`: (rows, length) of the cache's kind. Where another run has just written the shard, that one stays, since it
        may be sealed already, and the answer is False."""
        assert records.shape == (len(self.rows_of(number)), self.length)
        return write_new_bytes(self.shard(number), records.tobytes())

    def seal(self) -> None:
        """Writes the manifest when all shards are there, and removes what killed processes left of them."""
        if not has_manifest(self.folder):
            # Nothing else in the folder: another run may be writing there.
            shards = [self.shard(number) for number in range(self.num_shards)]
            files = {shard.name: FileEntry.of(shard).model_dump() for shard in shards}
            write_json(self.folder / MANIFEST, self.facts | {"num_rows": self.num_rows, "files": files})
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Of a cache whose shards are all there."""
        remove_leftovers(self.folder, "*.bin")

    # ------------------------------------------------------------------ reading

    def is_whole(self) -> bool:
        return has_manifest(self.folder)

    def first_mistake(self, numbers: Iterable[int], check_stop: Callable[[], None]) -> str:
        """What is wrong with the first of these shards that is not what was written; empty where all are."""
        manifest = read_json(self.folder / MANIFEST)
        for number in numbers:
            check_stop()
            path = self.shard(number)
            entry = manifest["files"].get(path.name)
            with suppress(FileNotFoundError):
                if entry and sha256_file(path) == entry["sha256"]:
                    continue
            return f"{path}: is not what was written there; remove {self.folder}, and the teachers are asked again"
        return ""

    @cached_property
    def _shards(self) -> list[np.ndarray]:
        return [self._mapped(number) for number in range(self.num_shards)]

    def _mapped(self, number: int) -> np.ndarray:
        """By torch, whose maps hold no file descriptor: a process may have a thousand of these, and a large text has more
        shards."""
        shape = (len(self.rows_of(number)), self.length)
        num_bytes = shape[0] * shape[1] * self.record.itemsize
        content: np.ndarray = torch.from_file(str(self.shard(number)), size=num_bytes, dtype=torch.uint8).numpy()
        return content.view(self.record).reshape(shape)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The records of these rows, (rows, length)."""
        numbers, places = np.divmod(rows, self.rows_per_shard)
        return np.stack([self._shards[number][place] for number, place in zip(numbers, places, strict=True)])


class KeptTeachers:
    """What was kept of a recipe's teachers, for the sequences that a step reads."""

    def __init__(self, caches: dict[int, TeacherCache], sequence_length: int, kind: str) -> None:
        """`caches` are by the length of their pieces."""
        self.caches, self._sequence_length = caches, sequence_length
        self.term: TeacherTerm = TopKTerm() if kind == "top_k" else SampledTerm()

    def for_pieces(self, pieces: Pieces) -> dict[str, torch.Tensor]:
        length = pieces.input_ids.shape[1]
        per_sequence = self._sequence_length // length
        rows = pieces.sequence_ids * per_sequence + np.arange(len(pieces.sequence_ids)) % per_sequence
        return tensors_of(self.caches[length].read(rows))

    def for_inputs(self, inputs: Any) -> dict[str, torch.Tensor]:
        return {}


def tensors_of(records: np.ndarray) -> dict[str, torch.Tensor]:
    """As integers, since engines round floats to their precision; the terms know what they are."""
    said = {"ids": records["ids"].astype(np.int32), "values": np.ascontiguousarray(records["values"]).view(np.int16)}
    if "log_sum_exp" in (records.dtype.names or ()):
        said["log_sum_exp"] = np.ascontiguousarray(records["log_sum_exp"]).view(np.int32)
    return {name: torch.from_numpy(values) for name, values in said.items()}
