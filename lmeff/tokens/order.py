"""Which sequences a step reads: a pure function of (seed, step).

Training reads one endless stream: a permutation of all sequences, then another one, and so on. Step s reads positions
[s x batch, (s + 1) x batch) of it, so that every step is full and a batch may straddle two epochs.
"""

import numpy as np

_CHUNK = 1 << 15
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014), a bijection of 64-bit integers."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _keys(num_sequences: int, seed: int, epoch: int) -> np.ndarray:
    """A number for each sequence, no two alike, (num_sequences,) uint64."""
    keys = np.empty(num_sequences, np.uint64)
    with np.errstate(over="ignore"):
        start = _mix(_mix(np.array([seed], np.uint64) + _GOLDEN) + np.array([epoch], np.uint64) + _GOLDEN)
        for first in range(0, num_sequences, _CHUNK):  # what is computed stays in the processor's cache
            numbers = np.arange(first + 1, min(first + _CHUNK, num_sequences) + 1, dtype=np.uint64)
            keys[first : first + _CHUNK] = _mix(start + _GOLDEN * numbers)
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


class SampleOrder:
    """The endless stream of sequence ids."""

    def __init__(self, num_sequences: int, seed: int) -> None:
        self.num_sequences = num_sequences
        self.seed = seed
        self._permutations: dict[int, np.ndarray] = {}

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._permutations:
            self._permutations = {kept: ids for kept, ids in self._permutations.items() if kept == epoch - 1}
            self._permutations[epoch] = permutation(self.num_sequences, self.seed, epoch)
        return self._permutations[epoch]

    def sequence_ids(self, first: int, count: int) -> np.ndarray:
        """Ids at positions [first, first + count) of the stream: (count,) int64."""
        pieces = []
        while count:
            epoch, position = divmod(first, self.num_sequences)
            piece = self._epoch(epoch)[position : position + count]
            pieces.append(piece)
            first, count = first + len(piece), count - len(piece)
        return np.concatenate(pieces)
