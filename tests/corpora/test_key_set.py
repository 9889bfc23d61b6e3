"""A set of keys on disk: what is in it, however often it was put away and opened again."""

from pathlib import Path

import numpy as np

from lmeff.corpora.cleaning.key_set import KeySet, _merged


def test_a_set_like_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys, known = KeySet(tmp_path, "k"), set()
    for turn in range(40):
        new = [key for key in rng.integers(0, 5_000, 60).tolist() if key not in known]
        asked = np.arange(5_000, dtype=np.uint64)
        assert set(np.flatnonzero(keys.in_runs(asked)).tolist()) == known
        keys.fresh.update(new)
        known.update(new)
        names = keys.save()
        assert len(names) < 8, "runs are merged as they grow"
        if turn % 7 == 0:
            keys.forget_others()
            keys = KeySet(tmp_path, "k", names)
            assert len(list(tmp_path.iterdir())) == len(names)


def test_runs_are_merged_block_by_block(monkeypatch) -> None:
    monkeypatch.setattr("lmeff.corpora.cleaning.key_set._BLOCK_KEYS", 7)
    rng = np.random.default_rng(1)
    every = rng.permutation(1_000).astype(np.uint64)
    for size in (0, 1, 300, 990):
        first, second = np.sort(every[size:]), np.sort(every[:size])
        assert np.array_equal(np.concatenate(list(_merged(first, second))), np.arange(1_000))
