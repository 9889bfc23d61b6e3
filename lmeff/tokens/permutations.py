"""Orders of things that are pure functions of a seed, the same on every machine and with every numpy."""

import numpy as np

from lmeff.stateless import GOLDEN, mix

_CHUNK = 1 << 15


def _keys(num_sequences: int, seed: int, epoch: int) -> np.ndarray:
    """A number for each sequence, no two alike, (num_sequences,) uint64."""
    keys = np.empty(num_sequences, np.uint64)
    with np.errstate(over="ignore"):
        start = mix(mix(np.array([seed], np.uint64) + GOLDEN) + np.array([epoch], np.uint64) + GOLDEN)
        for first in range(0, num_sequences, _CHUNK):  # what is computed stays in the processor's cache
            numbers = np.arange(first + 1, min(first + _CHUNK, num_sequences) + 1, dtype=np.uint64)
            keys[first : first + _CHUNK] = mix(start + GOLDEN * numbers)
    return keys


def in_order_of(keys: np.ndarray) -> np.ndarray:
    """`argsort` of keys of which no two are alike, uint64 (n,), several times as fast; int64 (n,).

    The lower bits of a key are replaced by its place, so that plain numbers are sorted; those whose upper bits are equal, few
    if the keys are random, are put in order by their whole keys.
    """
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))
    lower = (np.uint64(1) << bits) - np.uint64(1)
    packed = (keys & ~lower) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    places = (packed & lower).astype(np.int64)
    packed >>= bits
    ties = np.flatnonzero(packed[1:] == packed[:-1])
    for group in np.split(ties, np.flatnonzero(np.diff(ties) > 1) + 1):
        if len(group):
            run = slice(int(group[0]), int(group[-1]) + 2)
            places[run] = places[run][np.argsort(keys[places[run]])]
    return places


def permutation(num_sequences: int, seed: int, epoch: int) -> np.ndarray:
    """An order of all sequences, (num_sequences,) int64. The same on every machine and with every numpy."""
    return in_order_of(_keys(num_sequences, seed, epoch))
