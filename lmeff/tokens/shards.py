"""Token ids on disk: a 64-byte header, then uint16 (uint32 above 65,535 ids) ids, little-endian, then a hash (xxh3, 64 bits) of
each mebibyte of both."""

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import xxhash

from lmeff.errors import InputError

_HEADER = struct.Struct("<8sIIQI36x")
_MAGIC = b"lmefftok"
_VERSION = 2
_BLOCK_BYTES = 1 << 20
_CHECKED_WHEN_OPENED_BYTES = 1 << 30


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
        self._file.flush()
        sums = _sums(self.path, _HEADER.size + self.num_tokens * self._dtype.itemsize)
        self._file.seek(0, os.SEEK_END)
        self._file.write(sums.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _num_blocks(num_bytes: int) -> int:
    return -(-num_bytes // _BLOCK_BYTES)


def _sums(path: Path, num_bytes: int, blocks: Iterable[int] | None = None) -> np.ndarray:
    """Hashes of the blocks of a file's first `num_bytes`, or of some of them: uint64 (blocks,)."""
    chosen = range(_num_blocks(num_bytes)) if blocks is None else list(blocks)
    out = np.empty(len(chosen), "<u8")
    with open(path, "rb", buffering=0) as file:
        for place, block in enumerate(chosen):
            file.seek(block * _BLOCK_BYTES)
            size = min(_BLOCK_BYTES, num_bytes - block * _BLOCK_BYTES)
            out[place] = xxhash.xxh3_64_intdigest(file.read(size))
    return out


class Shard:
    """One file of ids, memory-mapped, whose content is compared with its hashes before it is used."""

    def __init__(self, path: Path) -> None:
        """Raises InputError naming a shard that is not one or has another length."""
        self.path = path
        try:
            with open(path, "rb") as file:
                magic, version, itemsize, num_tokens, vocab_size = _HEADER.unpack(file.read(_HEADER.size))
        except (OSError, struct.error) as error:
            raise InputError(f"{path}: token shard cannot be read ({error})") from None
        if magic != _MAGIC or version != _VERSION or itemsize != id_type(vocab_size).itemsize:
            raise InputError(f"{path}: not a token shard of format {_VERSION}")
        self.num_bytes = _HEADER.size + num_tokens * itemsize
        wanted = self.num_bytes + 8 * _num_blocks(self.num_bytes)
        if path.stat().st_size != wanted:
            raise InputError(
                f"{path}: token shard has {path.stat().st_size} bytes instead of {wanted}; remove its folder and prepare again"
            )
        dtype = id_type(vocab_size)
        self.ids = np.memmap(path, dtype, "r", _HEADER.size, (num_tokens,)) if num_tokens else np.zeros(0, dtype)
        """(tokens,) uint16 or uint32."""
        self._sums = np.fromfile(path, "<u8", offset=self.num_bytes)
        self._unchecked = np.ones(len(self._sums), bool)
        self.is_checked = False

    def check(self, starts: np.ndarray | None = None, length: int = 0) -> None:
        """Compares the file with its hashes; given `starts`, (rows,), only where ids [start, start + length) are.

        Raises InputError naming a shard that holds other bytes than were written.
        """
        if self.is_checked:
            return
        blocks = np.flatnonzero(self._unchecked)
        if starts is not None:
            itemsize = self.ids.dtype.itemsize
            first = (_HEADER.size + starts * itemsize) // _BLOCK_BYTES
            last = (_HEADER.size + (starts + length) * itemsize - 1) // _BLOCK_BYTES
            wanted = np.unique(np.concatenate([first, last, *_between(first, last)]))
            blocks = wanted[self._unchecked[wanted]]
        if not np.array_equal(_sums(self.path, self.num_bytes, blocks.tolist()), self._sums[blocks]):
            raise InputError(
                f"{self.path}: token shard holds other bytes than were written; remove its folder and prepare again"
            )
        self._unchecked[blocks] = False
        self.is_checked = not self._unchecked.any()


def _between(first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Blocks that lie inside ranges longer than two."""
    return [np.arange(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True) if b - a > 1]


class TokenStream:
    """All ids of one split, over its shards, as one long sequence."""

    def __init__(self, paths: Sequence[Path], lengths: Sequence[int] | None = None) -> None:
        """`lengths`: how many ids of each shard are read, from its beginning; a shard may be there several times.

        Raises InputError naming a shard that is damaged: at once, or, of more than a gigabyte in all, before the damaged part
        is first used.
        """
        opened = {path: Shard(path) for path in dict.fromkeys(paths)}
        if sum(shard.num_bytes for shard in opened.values()) <= _CHECKED_WHEN_OPENED_BYTES:
            for shard in opened.values():
                shard.check()
        self._files = [opened[path] for path in paths]
        wanted = [None] * len(paths) if lengths is None else lengths
        self._shards = [file.ids[:length] for file, length in zip(self._files, wanted, strict=True)]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.num_tokens = int(self._ends[-1]) if paths else 0

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Ids [start, stop) as int64."""
        pieces = []
        for index in range(int(np.searchsorted(self._ends, start, "right")), len(self._shards)):
            offset = int(self._ends[index]) - len(self._shards[index])
            first, last = max(start - offset, 0), min(stop - offset, len(self._shards[index]))
            if last > first:
                self._files[index].check(np.array([first]), last - first)
            pieces.append(self._shards[index][first:last])
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
            self._files[index].check(local, length)
            out[rows] = self._shards[index][local[:, None] + np.arange(length)]
        for row in np.flatnonzero(first != last):
            out[row] = self.slice(int(starts[row]), int(starts[row]) + length)
        return out

    def pieces(self, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Tokens [start, start + size) of every piece, one after the other, as int64. A piece lies in one shard, as documents
        do."""
        ends = sizes.cumsum()
        out = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
        shards = np.searchsorted(self._ends, starts, "right")
        for index in np.unique(shards):
            chosen = np.flatnonzero(shards == index)
            local, size = starts[chosen] - (int(self._ends[index]) - len(self._shards[index])), sizes[chosen]
            self._files[index].check(local, size)
            inside = np.arange(size.sum()) - np.repeat(size.cumsum() - size, size)
            places = np.repeat((ends - sizes)[chosen], size) + inside
            out[places] = self._shards[index][np.repeat(local, size) + inside]
        return out
