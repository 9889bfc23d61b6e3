"""Token shards: what is written is read, in any shape, and damage is named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.errors import InputError
from lmeff.tokens.shards import Shard, ShardWriter, TokenStream, id_type


def _checked_ids(path: Path) -> np.ndarray:
    shard = Shard(path)
    shard.check()
    return shard.ids


def write(path: Path, ids: np.ndarray, vocab_size: int) -> Path:
    writer = ShardWriter(path, vocab_size)
    try:
        writer.append(ids)
    finally:
        writer.close()
    return path


@pytest.mark.parametrize(("vocab_size", "itemsize"), [(65_536, 2), (65_537, 4)])
def test_the_largest_id_survives(tmp_path: Path, vocab_size: int, itemsize: int) -> None:
    ids = np.array([0, 1, vocab_size - 1])
    shard = _checked_ids(write(tmp_path / "a.bin", ids, vocab_size))
    assert shard.tolist() == ids.tolist()
    assert id_type(vocab_size).itemsize == itemsize
    with pytest.raises(ValueError, match="outside the vocabulary"):
        write(tmp_path / "b.bin", np.array([vocab_size]), vocab_size)


@pytest.mark.medium
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 17), st.integers(0, 99))
def test_blocks_are_the_same_however_the_stream_is_cut(sizes: list[int], length: int, seed: int) -> None:
    import tempfile

    ids = np.random.default_rng(seed).integers(0, 1000, sum(sizes))
    if len(ids) < length:
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = np.split(ids, np.cumsum(sizes)[:-1])
        stream = TokenStream([write(Path(folder) / f"{i}.bin", part, 1000) for i, part in enumerate(parts)])
        wanted = np.random.default_rng(seed).permutation(len(ids) // length)
        blocks = stream.blocks(wanted, length)
        assert stream.num_tokens == len(ids)
        assert np.array_equal(blocks, ids[: len(ids) // length * length].reshape(-1, length)[wanted])
        assert np.array_equal(stream.slice(len(ids) // 3, len(ids)), ids[len(ids) // 3 :])


def test_damage_is_named(tmp_path: Path) -> None:
    """F20."""
    whole = write(tmp_path / "a.bin", np.arange(100), 1000).read_bytes()
    for content in (whole[:-1], whole[:40], b"something else" + whole, whole + b"\0\0"):
        (tmp_path / "a.bin").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.bin: .*token shard"):
            _checked_ids(tmp_path / "a.bin")


@pytest.mark.parametrize("place", [40, 64, 2_000_000, -3])
def test_one_wrong_byte_is_found_when_a_shard_is_opened(tmp_path: Path, place: int) -> None:
    """In the header, the ids or the hashes themselves."""
    path = write(tmp_path / "a.bin", np.arange(1_500_000) % 1000, 1000)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bin: "):
        _checked_ids(path)
    with pytest.raises(InputError, match=r"a\.bin: "):
        TokenStream([path])


def test_of_a_large_stream_each_part_is_checked_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmeff.tokens.shards._CHECKED_WHEN_OPENED_BYTES", 0)
    ids = np.arange(3_000_000) % 1000
    path = write(tmp_path / "a.bin", ids, 1000)
    content = bytearray(path.read_bytes())
    content[5_000_000] ^= 1  # id 2,499,968, in the last of six blocks of a mebibyte
    path.write_bytes(content)
    stream = TokenStream([path])
    assert np.array_equal(
        stream.blocks(np.array([0, 7_000]), 256), ids.reshape(-1)[: 7_001 * 256].reshape(-1, 256)[[0, 7_000]]
    )
    assert np.array_equal(stream.slice(100, 1_000), ids[100:1_000])
    for read in (
        lambda: stream.blocks(np.array([2_499_968 // 256]), 256),
        lambda: stream.slice(0, 3_000_000),
        lambda: stream.blocks(np.array([0]), 3_000_000),
    ):
        with pytest.raises(InputError, match="other bytes than were written"):
            read()


def test_a_shard_may_be_read_twice_or_in_part(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.bin", np.array(ids), 100) for name, ids in (("a", [1, 2, 3]), ("b", [4, 5]))]
    stream = TokenStream([paths[0], paths[1], paths[0]], [3, 2, 1])
    assert stream.num_tokens == 6
    assert stream.slice(0, 6).tolist() == [1, 2, 3, 4, 5, 1]
    assert stream.blocks(np.array([1, 0]), 3).tolist() == [[4, 5, 1], [1, 2, 3]]
