"""Keys that near-duplicate texts share: MinHash (Broder 1997) in bands, as many as FineWeb has (Penedo et al. 2024)."""

import numpy as np
import xxhash

from lmeff.corpora.cleaning.words import ngram_hashes, word_hashes, words

NGRAM_WORDS = 5
"""Texts are compared as sets of word 5-grams, lower-cased and without punctuation."""
NUM_BANDS = 14
BAND_HASHES = 8
NUM_HASHES = NUM_BANDS * BAND_HASHES
_SCHEME = "affine32"
# A book is read in pieces: every n-gram takes NUM_HASHES numbers of 4 bytes while its piece is being hashed.
_PIECE_NGRAMS = 4096


class NearKeys:
    """Gives each text one key per band; texts that share any key are taken for near-duplicates.

    Two texts with a Jaccard similarity s of their 5-grams share one with probability 1 - (1 - s^8)^14: 0.053 at s = 0.5, 0.5 at
    0.685, 0.772 at 0.75, 0.924 at 0.8, 0.9996 at 0.9.

    The same text and seed give the same keys in every process, on every platform: n-grams are hashed with xxh3, and
    datasketch's `affine32` permutations are integers drawn from NumPy's frozen RandomState.
    """

    def __init__(self, seed: int = 0) -> None:
        from datasketch import MinHash  # late: it brings scipy, half a second

        self._new_sketch = MinHash
        self._permutations = MinHash(NUM_HASHES, seed=seed, scheme=_SCHEME).permutations

    def __call__(self, text: str) -> np.ndarray:
        """Keys of a text: uint64 (14,). They hold their band's number, so keys of all bands may go into one set.

        A text of fewer than five words is one n-gram of those it has; one without any word is itself.
        """
        return self._keys(_ngrams(text))

    def _keys(self, ngrams: np.ndarray) -> np.ndarray:
        sketch = self._new_sketch(hashfunc=int, num_perm=NUM_HASHES, permutations=self._permutations, scheme=_SCHEME)
        for start in range(0, len(ngrams), _PIECE_NGRAMS):
            sketch.update_batch(ngrams[start : start + _PIECE_NGRAMS].tolist())
        bands = sketch.hashvalues.astype("<u4").reshape(NUM_BANDS, BAND_HASHES)
        keys = [xxhash.xxh3_64_intdigest(hashes.tobytes(), seed=band) for band, hashes in enumerate(bands)]
        return np.array(keys, np.uint64)


def _ngrams(text: str) -> np.ndarray:
    """The n-grams of a text as 32-bit numbers: uint64 (number of them,), at least one."""
    hashes = word_hashes(words(text) or [" ".join(text.split())])
    return ngram_hashes(hashes, min(NGRAM_WORDS, len(hashes))) >> np.uint64(32)
