"""Random numbers that are pure functions of what they are drawn for, the same on every machine and with every numpy."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What SplitMix64 adds to its state for each number."""


def stateless_seed(*parts: int | str) -> int:
    """A seed of 63 bits that is a pure function of `parts`."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014), a bijection of 64-bit integers."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def uniforms(seeds: Sequence[int], count: int) -> np.ndarray:
    """`count` numbers in [0, 1) for each seed, (seeds, count) float64: SplitMix64's, started at the seed."""
    with np.errstate(over="ignore"):
        numbers = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        bits = mix(np.array(seeds, np.uint64)[:, None] + numbers)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
