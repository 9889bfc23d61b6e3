"""Random blocks out of token shards, and how soon a stream of 3.7 billion tokens is ready.

    python tests/benchmarks/shard_reads.py [--repeats 5]

Reads: batches of 512 blocks of 256 tokens, in the training order, from 200 million tokens on disk (in memory after the first
pass), against nanoGPT's way (a slice of one memmap for each row, cast and stacked) on the same ids, interleaved; median.
Start: shards of sparse files as `lmeff prepare` would leave them; opening them, the order of the first epoch, and the first
batch.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xxhash

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from lmeff.tokens.order import SampleOrder  # noqa: E402
from lmeff.tokens.shards import _BLOCK_BYTES, _HEADER, _MAGIC, _VERSION, ShardWriter, TokenStream  # noqa: E402

LENGTH, BATCH, BATCHES = 256, 512, 200
SHARD_TOKENS = 16_000_000


def write(path: Path, ids: np.ndarray) -> Path:
    writer = ShardWriter(path, 50_257)
    writer.append(ids)
    writer.close()
    return path


def sparse_shard(path: Path, num_tokens: int) -> Path:
    """A shard of zeros that takes no room."""
    header = _HEADER.pack(_MAGIC, _VERSION, 2, num_tokens, 50_257)
    num_bytes = len(header) + 2 * num_tokens
    num_blocks = -(-num_bytes // _BLOCK_BYTES)
    zeros = bytes(_BLOCK_BYTES)
    sums = np.full(num_blocks, xxhash.xxh3_64_intdigest(zeros), "<u8")
    sums[0] = xxhash.xxh3_64_intdigest(header + zeros[len(header) :])
    sums[-1] = xxhash.xxh3_64_intdigest(zeros[: num_bytes - (num_blocks - 1) * _BLOCK_BYTES])
    with open(path, "wb") as file:
        file.write(header)
        file.seek(num_bytes)
        file.write(sums.tobytes())
    return path


def ours(stream: TokenStream, batches: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for batch in batches:
        stream.blocks(batch, LENGTH)
    return time.perf_counter() - start


def nanogpt(path: Path, batches: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for batch in batches:
        data = np.memmap(path, np.uint16, "r")
        np.stack([data[i * LENGTH : (i + 1) * LENGTH].astype(np.int64) for i in batch])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        rng = np.random.default_rng(0)
        parts = [rng.integers(0, 50_257, SHARD_TOKENS).astype(np.uint16) for _ in range(12)]
        stream = TokenStream([write(base / f"{i}.bin", part) for i, part in enumerate(parts)])
        np.concatenate(parts).tofile(base / "flat.bin")
        order = SampleOrder(stream.num_tokens // LENGTH, seed=0)
        batches = [order.sequence_ids(i * BATCH, BATCH) for i in range(BATCHES)]
        ours(stream, batches), nanogpt(base / "flat.bin", batches)
        times = [(ours(stream, batches), nanogpt(base / "flat.bin", batches)) for _ in range(options.repeats)]
        mine, peer = (statistics.median(column) for column in zip(*times, strict=True))
        blocks = BATCH * BATCHES
        print(f"blocks of {LENGTH} tokens: {blocks / mine:,.0f} a second, nanoGPT's way {blocks / peer:,.0f},", end=" ")
        print(f"ratio {peer / mine:.2f}")

        shards = [sparse_shard(base / f"sparse-{i}.bin", SHARD_TOKENS) for i in range(3_700_000_000 // SHARD_TOKENS)]
        seconds = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            stream = TokenStream(shards)
            opened = time.perf_counter()
            order = SampleOrder(stream.num_tokens // LENGTH, seed=0)
            ids = order.sequence_ids(0, BATCH)
            ordered = time.perf_counter()
            stream.blocks(ids, LENGTH)
            seconds.append((opened - start, ordered - opened, time.perf_counter() - ordered))
        opening, ordering, reading = (statistics.median(column) for column in zip(*seconds, strict=True))
        print(f"{stream.num_tokens / 1e9:.1f}B tokens in {len(shards)} shards: open {opening:.3f} s,", end=" ")
        print(f"order of {order.num_sequences:,} sequences {ordering:.3f} s, first batch {reading:.3f} s")


if __name__ == "__main__":
    main()
