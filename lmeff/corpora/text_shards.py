"""Text on disk: `train-00000.jsonl` and so on, one document a line, and how many words each has."""

import os
from dataclasses import asdict, dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np

from lmeff.corpora.documents import Piece

_SHARD_BYTES = 64 << 20


@dataclass
class TextShard:
    """One file of text, all of one source."""

    name: str
    source: str
    num_documents: int = 0
    num_bytes: int = 0
    """Of the texts alone."""
    num_words: int = 0
    file_bytes: int = 0
    domains: dict[str, int] = field(default_factory=dict)
    """Bytes by domain."""
    is_whole: bool = False


class TextWriter:
    """Writes the documents of one side. Shards end with a document, before they get too large, and where a source ends."""

    def __init__(self, folder: Path, side: str, shards: list[dict[str, Any]]) -> None:
        """`shards`: what an earlier `save` returned; what was written after it is cut off."""
        self._folder, self._side = folder, side
        self.shards = [TextShard(**shard) for shard in shards]
        self._file: BufferedWriter | None = None
        self._words: BufferedWriter | None = None
        if self.shards and not self.shards[-1].is_whole:
            self._open(self.shards[-1])

    def _open(self, shard: TextShard) -> None:
        self._file = open(self._folder / shard.name, "ab")  # noqa: SIM115 - closed by `close`
        self._file.truncate(shard.file_bytes)
        self._words = open(self._folder / words_name(shard.name), "ab")  # noqa: SIM115
        self._words.truncate(4 * shard.num_documents)

    def write(self, piece: Piece, source: str, domain: str) -> None:
        if self._file is not None:
            shard = self.shards[-1]
            if shard.source != source or shard.num_bytes + piece.num_bytes > _SHARD_BYTES:
                self.close()
        if self._file is None:
            name = f"{self._side}-{len(self.shards):05d}.jsonl"
            for leftover in (self._folder / name, self._folder / words_name(name)):
                leftover.unlink(missing_ok=True)
            self.shards.append(TextShard(name, source))
            self._open(self.shards[-1])
        shard = self.shards[-1]
        assert self._file is not None, "opened above"
        assert self._words is not None, "opened with it"
        self._file.write(piece.line)
        self._words.write(piece.num_words.to_bytes(4, "little"))
        shard.num_documents += 1
        shard.num_bytes += piece.num_bytes
        shard.num_words += piece.num_words
        shard.file_bytes += len(piece.line)
        shard.domains[domain] = shard.domains.get(domain, 0) + piece.num_bytes

    def save(self) -> list[dict[str, Any]]:
        """Brings everything to disk, and returns what is needed to go on from here."""
        for file in (self._file, self._words):
            if file is not None:
                file.flush()
                os.fsync(file.fileno())
        return [asdict(shard) for shard in self.shards]

    def close(self) -> None:
        """Ends the present shard."""
        if self._file is not None:
            self.save()
            self.leave()
            self.shards[-1].is_whole = True

    def leave(self) -> None:
        """Closes the files of the present shard, which a later call may go on with from what was saved."""
        for file in (self._file, self._words):
            if file is not None:
                file.close()
        self._file = self._words = None


def words_name(shard_name: str) -> str:
    """The file with the number of words of each document, uint32."""
    return shard_name.removesuffix(".jsonl") + ".words.bin"


def read_words(folder: Path, shard_name: str) -> np.ndarray:
    """Words of each document of a shard, uint32 (documents,)."""
    return np.fromfile(folder / words_name(shard_name), "<u4")


def summary(shards: list[TextShard]) -> dict[str, Any]:
    """What the manifest says of one side."""
    domains: dict[str, int] = {}
    for shard in shards:
        for domain, num_bytes in shard.domains.items():
            domains[domain] = domains.get(domain, 0) + num_bytes
    return {
        **{unit: sum(getattr(shard, unit) for shard in shards) for unit in ("num_documents", "num_bytes", "num_words")},
        "domains": domains,
        "shards": [
            {key: value for key, value in asdict(shard).items() if key not in ("domains", "is_whole")}
            for shard in shards
        ],
    }
