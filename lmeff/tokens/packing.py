"""Sequences that cut only what is longer than they are: documents in bins of one length, by best-fit decreasing.

As in Ding et al. 2024, "Fewer Truncations Improve Language Modeling". The packing is a pure function of the documents' lengths
and the length of a sequence; it is computed once, kept beside the tokens and memory-mapped when it is read.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from lmeff.errors import InputError
from lmeff.files import MANIFEST, describe_files, locked, new_folder, read_json, sha256_file, write_json
from lmeff.progress import shown
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens.excerpt import Excerpt
from lmeff.tokens.prepare import Tokens
from lmeff.tokens.shards import TokenStream
from lmeff.tokens.tokenizer.bpe import PAD_ID

PACKING_FORMAT = 1
"""Raised whenever the same documents would be packed otherwise."""


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The bin of every piece, (pieces,) int64: from the longest piece to the shortest, each goes where it leaves least room.

    `lengths` are 1 to `capacity`. Pieces of one length are placed together, so that the time grows with the number of lengths
    and the number of pieces, and not with the number of bins.
    """
    order = np.argsort(lengths.astype(np.uint16 if capacity < 1 << 16 else np.int64), kind="stable")
    bounds = np.concatenate([[0], np.bincount(lengths, minlength=capacity + 1).cumsum()])
    bins_of_pieces = np.empty(len(lengths), np.int64)
    rooms = _Rooms(capacity)
    for length in range(capacity, 0, -1):
        pieces = order[bounds[length] : bounds[length + 1]]
        while len(pieces):
            # The bin with the least room that suffices stays that bin until it is full, so it takes `each` of them at once.
            room, bins = rooms.take_tightest(length, len(pieces))
            each = room // length
            placed = min(len(pieces), len(bins) * each)
            bins_of_pieces[pieces[:placed]] = np.repeat(bins, each)[:placed]
            full, rest = divmod(placed, each)
            rooms.put(room - each * length, bins[:full])
            rooms.put(room - rest * length, bins[full:])
            pieces = pieces[placed:]
    return bins_of_pieces


class _Rooms:
    """Open bins by the room that they have left."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bins: list[list[np.ndarray]] = [[] for _ in range(capacity + 1)]
        self._is_there = 0
        """Bit r is set when there are bins with room for r."""
        self._num_bins = 0

    def put(self, room: int, bins: np.ndarray) -> None:
        if room and len(bins):
            self._bins[room].append(bins)
            self._is_there |= 1 << room

    def take_tightest(self, length: int, num_pieces: int) -> tuple[int, np.ndarray]:
        """The least room for `length` that there is, and bins that have it, no more than `num_pieces` need; new ones where
        there is none."""
        fitting = self._is_there >> length << length
        room = (fitting & -fitting).bit_length() - 1 if fitting else self._capacity
        wanted = -(-num_pieces // (room // length))
        if not fitting:
            bins = np.arange(self._num_bins, self._num_bins + wanted)
            self._num_bins += wanted
            return room, bins
        bins = self._bins[room].pop()
        if not self._bins[room]:
            self._is_there ^= 1 << room
        self.put(room, bins[wanted:])
        return room, bins[:wanted]


def cut_documents(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents, one after the other in the stream, as pieces of `capacity` tokens at most: where each begins in the stream,
    its tokens, and whether it goes on with a document. A last piece of one token is left out: nothing stands before it that it
    could be predicted from."""
    num_pieces = lengths // capacity + (lengths % capacity > 1)
    document = np.repeat(np.arange(len(lengths)), num_pieces)
    index = np.arange(len(document)) - (num_pieces.cumsum() - num_pieces)[document]
    sizes = np.minimum(lengths[document] - index * capacity, capacity)
    return (lengths.cumsum() - lengths)[document] + index * capacity, sizes, index > 0


def position_ids(begins: np.ndarray) -> np.ndarray:
    """Positions that restart at 0 wherever something begins. `begins` is (rows, length) bool, with the first column True."""
    columns = np.arange(begins.shape[1])
    return columns - np.maximum.accumulate(np.where(begins, columns, 0), axis=1)


@dataclass(frozen=True)
class Packing:
    """Which pieces of the stream lie in which sequence. Pieces of a sequence are in the order of the text."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def num_sequences(self) -> int:
        num_sequences: int = self.manifest["num_sequences"]
        return num_sequences

    @property
    def sequence_length(self) -> int:
        sequence_length: int = self.manifest["sequence_length"]
        return sequence_length

    @cached_property
    def first_pieces(self) -> np.ndarray:
        """(sequences + 1,) int64: pieces of sequence s are those from `[s]` to `[s + 1]`."""
        return self._load("first_pieces")

    @cached_property
    def starts(self) -> np.ndarray:
        """(pieces,) int64: first token of each in the stream."""
        return self._load("starts")

    @cached_property
    def sizes(self) -> np.ndarray:
        """(pieces,) int32: tokens of each."""
        return self._load("sizes")

    @cached_property
    def goes_on(self) -> np.ndarray:
        """(pieces,) bool: whether the beginning of the document lies in another piece."""
        return self._load("goes_on")

    def _load(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            if _sha256(path, path.stat().st_mtime_ns) != self.manifest["files"][path.name]["sha256"]:
                raise InputError(f"{path}: is damaged; remove {self.folder} and prepare again")
            values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return values
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}); remove {self.folder} and prepare again") from None

    def check(self) -> None:
        """Raises InputError for a file that is missing or not as it was written."""
        for name in self.manifest["files"]:
            self._load(name.removesuffix(".npy"))

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(pieces,) int64 each: the sequence that a piece lies in, and its first position there."""
        return _places(np.diff(self.first_pieces), np.asarray(self.sizes, np.int64))

    def read(self, stream: TokenStream, sequence_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(batch, sequence) each: the ids, int64, with padding at the end, and whether a piece or the padding begins there."""
        first, length = self.first_pieces[sequence_ids], self.sequence_length
        num_pieces = self.first_pieces[np.asarray(sequence_ids) + 1] - first
        pieces = np.repeat(first - (num_pieces.cumsum() - num_pieces), num_pieces) + np.arange(num_pieces.sum())
        sizes = self.sizes[pieces].astype(np.int64)
        rows, columns = _places(num_pieces, sizes)
        begins = np.zeros((len(first), length + 1), bool)
        begins[rows, columns] = True
        begins[np.arange(len(first)), np.bincount(rows, sizes).astype(np.int64)] = True
        inside = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        input_ids = np.full((len(first), length), PAD_ID, np.int64)
        places = np.repeat(rows * length + columns, sizes) + inside
        input_ids.reshape(-1)[places] = stream.pieces(self.starts[pieces], sizes)
        return input_ids, begins[:, :length]


@dataclass(frozen=True)
class PackingInMemory(Packing):
    """That of a text which is read once and then no more, so that it is not kept."""

    arrays: dict[str, np.ndarray]

    def _load(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def check(self) -> None:
        """Nothing can be damaged."""


@cache
def _sha256(path: Path, mtime_ns: int) -> str:
    """Once for a process, unless the file is written again."""
    return sha256_file(path)


def _places(num_pieces: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and first column of pieces that lie row by row, `num_pieces` in each; a row has one at least."""
    rows = np.repeat(np.arange(len(num_pieces)), num_pieces)
    begins = sizes.cumsum() - sizes
    return rows, begins - begins[num_pieces.cumsum() - num_pieces][rows]


def prepare_packing(tokens: Tokens, sequence_length: int) -> Packing:
    """Packs the training documents by best fit unless that was done already, for just these documents. Raises InputError for a
    damaged packing."""
    if isinstance(tokens, Excerpt):
        if sequence_length not in tokens.packed:
            arrays, described = _pack(np.asarray(tokens.train_documents[:, 0]), sequence_length)
            tokens.packed[sequence_length] = PackingInMemory(tokens.folder, described, arrays)
        packed: Packing = tokens.packed[sequence_length]
        return packed
    folder = tokens.folder / "packing" / f"best_fit-{sequence_length}.v{PACKING_FORMAT}"
    corpus = tokens.folder.parents[1]
    with locked(corpus.parent / ".locks" / f"{corpus.name}.{tokens.folder.name}.{folder.name}"):
        lengths = np.ascontiguousarray(tokens.train_documents[:, 0])
        documents = xxhash.xxh3_128_hexdigest(lengths.data)
        manifest = folder / MANIFEST
        if not (manifest.exists() and read_json(manifest)["documents"] == documents):
            with new_folder(folder) as aside:
                with shown("packing"):
                    arrays, described = _pack(lengths, sequence_length)
                    for name, array in arrays.items():
                        np.save(aside / f"{name}.npy", array, allow_pickle=False)
                described |= {"documents": documents}
                write_json(aside / MANIFEST, described | {"files": describe_files(aside)})
    packing = Packing(folder, read_json(folder / MANIFEST))
    packing.check()
    return packing


def _pack(document_tokens: np.ndarray, sequence_length: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, and what there is to say of them."""
    starts, sizes, goes_on = cut_documents(document_tokens, sequence_length)
    bins = best_fit_decreasing(sizes, sequence_length)
    order, num_sequences = np.argsort(bins, kind="stable"), int(bins.max()) + 1
    arrays = {
        "first_pieces": np.concatenate([[0], np.bincount(bins, minlength=num_sequences).cumsum()]),
        "starts": starts[order],
        "sizes": sizes[order].astype(np.int32),
        "goes_on": goes_on[order],
    }
    num_tokens = int(sizes.sum())
    return arrays, {
        "format": PACKING_FORMAT,
        "sequence_length": sequence_length,
        "num_sequences": num_sequences,
        "num_pieces": len(sizes),
        "num_tokens": num_tokens,
        "num_left_out_tokens": int(document_tokens.sum()) - num_tokens,
        "num_padding_tokens": num_sequences * sequence_length - num_tokens,
    }


def positions_per_epoch(tokens: Tokens, batch: Batch) -> int:
    """Sequence positions of one pass over the training text, padding included; prepares the packing. `concatenate` leaves out
    what does not fill a sequence at the text's end, which is counted here."""
    if batch.packing == "best_fit":
        return prepare_packing(tokens, batch.sequence_length).num_sequences * batch.sequence_length
    return tokens.train.num_tokens
