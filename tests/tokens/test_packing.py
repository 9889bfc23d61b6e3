"""Best fit: every document's tokens once, in as few sequences as the algorithm by the book, the same on every machine."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokens.numbered_tokens import described, write_tokens

from lmeff.errors import InputError
from lmeff.files import sha256_file
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import PAD_ID, positions_per_epoch, prepare_packing
from lmeff.tokens import packing as packing_module
from lmeff.tokens.packing import best_fit_decreasing, cut_documents


def by_the_book(lengths: list[int], capacity: int) -> list[int]:
    """What every bin holds, one piece at a time."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [index for index, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=lambda index: rooms[index])] -= length
        else:
            rooms.append(capacity - length)
    return sorted(capacity - room for room in rooms)


@given(st.lists(st.integers(1, 23), min_size=1, max_size=120))
def test_bins_are_those_of_the_book(lengths: list[int]) -> None:
    bins = best_fit_decreasing(np.array(lengths), 23)
    filled = np.bincount(bins, lengths).astype(int)
    assert filled.max() <= 23
    assert sorted(filled.tolist()) == by_the_book(lengths, 23)


@pytest.mark.medium
@given(st.lists(st.integers(2, 40), min_size=1, max_size=60), st.integers(2, 17))
def test_every_token_lies_in_one_sequence(lengths: list[int], capacity: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokens = write_tokens(Path(folder), lengths)
        packing = prepare_packing(tokens, capacity)
        rows = np.random.default_rng(0).permutation(packing.num_sequences)
        input_ids, begins = packing.read(tokens.train, rows)
        assert input_ids.shape == begins.shape == (len(rows), capacity)
        found = []
        for row, starts in zip(input_ids.tolist(), begins, strict=True):
            assert starts[0]
            pieces = [piece.tolist() for piece in np.split(np.array(row), np.flatnonzero(starts)[1:])]
            if PAD_ID in row:
                assert set(pieces.pop()) == {PAD_ID}
            assert not any(PAD_ID in piece for piece in pieces)
            found += pieces
        ends = np.cumsum(lengths)
        documents = [tokens.train.slice(int(end - n), int(end)).tolist() for end, n in zip(ends, lengths, strict=True)]
        cut = [text[at : at + capacity] for text in documents for at in range(0, len(text), capacity)]
        assert sorted(found) == sorted(piece for piece in cut if len(piece) > 1)
        assert packing.manifest["num_left_out_tokens"] == sum(len(piece) == 1 for piece in cut)
        assert packing.manifest["num_padding_tokens"] == (input_ids == PAD_ID).sum()
        batch = Batch(tokens=4 * capacity, sequence_length=capacity, packing="best_fit")
        assert positions_per_epoch(tokens, batch) == input_ids.size


def test_pieces_of_long_documents() -> None:
    starts, sizes, goes_on = cut_documents(np.array([3, 9, 8, 12]), 4)
    assert starts.tolist() == [0, 3, 7, 12, 16, 20, 24, 28]
    assert sizes.tolist() == [3, 4, 4, 4, 4, 4, 4, 4]
    assert goes_on.tolist() == [False, False, True, False, True, False, True, True]


def test_it_is_computed_once_and_is_the_same_again(tmp_path: Path) -> None:
    lengths = np.random.default_rng(1).integers(2, 90, 300).tolist()
    first = prepare_packing(write_tokens(tmp_path / "a", lengths), 32)
    again = prepare_packing(write_tokens(tmp_path / "b", lengths, num_shards=1), 32)
    assert first.manifest == again.manifest
    assert isinstance(first.starts, np.memmap)
    before = (first.folder / "starts.npy").stat().st_mtime_ns
    tokens = described(first.folder.parents[1])
    prepare_packing(tokens, 32)
    assert (first.folder / "starts.npy").stat().st_mtime_ns == before
    np.save(tokens.folder / "train.documents.npy", tokens.train_documents[::-1].copy())
    prepare_packing(described(tokens.folder), 32)
    assert (first.folder / "starts.npy").stat().st_mtime_ns != before, "other documents are packed anew"


def test_damage_is_named(tmp_path: Path) -> None:
    packing = prepare_packing(write_tokens(tmp_path, [5, 9, 40]), 8)
    path = packing.folder / "starts.npy"
    for content in (path.read_bytes()[:-8], b"something else", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"starts\.npy: .*; remove .* and prepare again"):
            _ = type(packing)(packing.folder, packing.manifest).starts


@pytest.mark.parametrize("name", ["first_pieces", "starts", "sizes", "goes_on"])
def test_one_wrong_byte_is_named(name: str, tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, [5, 9, 40])
    path = prepare_packing(tokens, 8).folder / f"{name}.npy"
    whole = path.read_bytes()
    for place in (0, 30, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=rf"{name}\.npy: is damaged; remove .* and prepare again"):
            prepare_packing(tokens, 8)
    path.write_bytes(whole)
    assert prepare_packing(tokens, 8).num_sequences


def test_files_are_compared_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, read = write_tokens(tmp_path, [5, 9, 40]), []
    monkeypatch.setattr(packing_module, "sha256_file", lambda path: read.append(path.name) or sha256_file(path))
    for _ in range(2):
        assert len(prepare_packing(tokens, 8).sizes) == 7
    assert len(read) == len(set(read)) == 4


def test_a_million_documents_take_seconds() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(5, 1, 1_000_000), 2, 50_000).astype(np.int64)
    begun = time.monotonic()
    _, sizes, _ = cut_documents(lengths, 256)
    bins = best_fit_decreasing(sizes, 256)
    assert time.monotonic() - begun < 20
    assert 1 - sizes.sum() / (256 * (bins.max() + 1)) < 0.001
