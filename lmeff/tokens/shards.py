"""Token ids on disk: a 64-byte header, then uint16 (uint32 above 65,535 ids) ids, little-endian."""

import struct
from pathlib import Path

import numpy as np

from lmeff.errors import InputError

_HEADER = struct.Struct("<8sIIQI36x")
_MAGIC = b"lmefftok"
_VERSION = 1


def id_type(vocab_size: int) -> np.dtype:
    """uint16 where every id fits, else uint32."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


class ShardWriter:
    """Appends ids to one shard; `close` completes its header."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.path = path
        self.vocab_size = vocab_size
        self.num_tokens = 0
        self._dtype = id_type(vocab_size)
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`
        self._write_header()

    def _write_header(self) -> None:
        self._file.seek(0)
        self._file.write(_HEADER.pack(_MAGIC, _VERSION, self._dtype.itemsize, self.num_tokens, self.vocab_size))

    def append(self, input_ids: np.ndarray) -> None:
        """`input_ids`: (tokens,) of any integer type. Raises ValueError for an id outside the vocabulary."""
        if len(input_ids) and not 0 <= input_ids.min() <= input_ids.max() < self.vocab_size:
            raise ValueError(f"{self.path}: token id outside the vocabulary of {self.vocab_size}")
        self._file.write(input_ids.astype(self._dtype).tobytes())
        self.num_tokens += len(input_ids)

    def close(self) -> None:
        self._write_header()
        self._file.close()


def open_shard(path: Path) -> np.ndarray:
    """The ids of a shard, (tokens,), memory-mapped. Raises InputError naming a shard that is damaged."""
    try:
        with open(path, "rb") as file:
            magic, version, itemsize, num_tokens, vocab_size = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error) as error:
        raise InputError(f"{path}: token shard cannot be read ({error})") from None
    if magic != _MAGIC or version != _VERSION or itemsize != id_type(vocab_size).itemsize:
        raise InputError(f"{path}: not a token shard of format {_VERSION}")
    wanted = _HEADER.size + num_tokens * itemsize
    if path.stat().st_size != wanted:
        raise InputError(
            f"{path}: token shard has {path.stat().st_size} bytes instead of {wanted}; remove its folder and prepare again"
        )
    if not num_tokens:
        return np.zeros(0, id_type(vocab_size))
    return np.memmap(path, id_type(vocab_size), "r", offset=_HEADER.size, shape=(num_tokens,))


class TokenStream:
    """All ids of one split, over its shards, as one long sequence."""

    def __init__(self, paths: list[Path]) -> None:
        self._shards = [open_shard(path) for path in paths]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.num_tokens = int(self._ends[-1]) if paths else 0

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Ids [start, stop) as int64."""
        pieces = []
        for index in range(int(np.searchsorted(self._ends, start, "right")), len(self._shards)):
            offset = int(self._ends[index]) - len(self._shards[index])
            pieces.append(self._shards[index][max(start - offset, 0) : stop - offset])
            if stop <= self._ends[index]:
                break
        return np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int64)

    def blocks(self, block_ids: np.ndarray, length: int) -> np.ndarray:
        """Block b is tokens [b x length, (b + 1) x length). `block_ids`: (batch,); returns int64 (batch, length)."""
        starts = np.asarray(block_ids, np.int64) * length
        out = np.empty((len(starts), length), np.int64)
        first = np.searchsorted(self._ends, starts, "right")
        last = np.searchsorted(self._ends, starts + length - 1, "right")
        for index in np.unique(first[first == last]):
            rows = np.flatnonzero((first == index) & (last == index))
            local = starts[rows] - (int(self._ends[index]) - len(self._shards[index]))
            out[rows] = self._shards[index][local[:, None] + np.arange(length)]
        for row in np.flatnonzero(first != last):
            out[row] = self.slice(int(starts[row]), int(starts[row]) + length)
        return out
