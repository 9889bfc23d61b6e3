"""A set of 64-bit keys that outgrows memory: sorted runs on disk, merged as they grow."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

_FRESH_KEYS = 1 << 18
_BLOCK_KEYS = 1 << 20


class KeySet:
    """Keys are added one by one and looked up many at once. Runs are never rewritten, so that a state saved by `save` stays
    readable while later runs are made."""

    def __init__(self, folder: Path, name: str, runs: Sequence[str] = ()) -> None:
        """`runs`: what an earlier `save` returned."""
        self._folder, self._name = folder, name
        self._names = list(runs)
        self._runs = [np.load(folder / run, mmap_mode="r", allow_pickle=False) for run in runs]
        self.fresh: set[int] = set()
        """Keys that are not on disk yet; new ones are put here."""
        self._next = 1 + max((int(run.split(".")[-2]) for run in runs), default=-1)

    def in_runs(self, keys: np.ndarray) -> np.ndarray:
        """Which of `keys`, uint64 (n,), are in the part on disk: bool (n,)."""
        found = np.zeros(len(keys), bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found |= run[places] == keys
        return found

    @property
    def is_full(self) -> bool:
        """Whether it is time to `save`."""
        return len(self.fresh) >= _FRESH_KEYS

    def save(self) -> list[str]:
        """Puts everything on disk; returns the names of its files, for the next start."""
        if self.fresh:
            keys = np.sort(np.fromiter(self.fresh, np.uint64, len(self.fresh)))
            self.fresh.clear()
            self._add_run(len(keys), iter([keys]))
            while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
                second, first = self._runs.pop(), self._runs.pop()
                del self._names[-2:]
                self._add_run(len(first) + len(second), _merged(first, second))
        return list(self._names)

    def _add_run(self, num_keys: int, blocks: Iterator[np.ndarray]) -> None:
        name = f"{self._name}.{self._next:06d}.npy"
        self._next += 1
        with open(self._folder / name, "wb") as file:
            about = {"descr": "<u8", "fortran_order": False, "shape": (num_keys,)}
            np.lib.format.write_array_header_1_0(file, about)
            for block in blocks:
                block.tofile(file)
            file.flush()
            os.fsync(file.fileno())
        self._names.append(name)
        self._runs.append(np.load(self._folder / name, mmap_mode="r", allow_pickle=False))

    def forget_others(self) -> None:
        """Removes files of runs that no state needs any more."""
        for path in self._folder.glob(f"{self._name}.*.npy"):
            if path.name not in self._names:
                path.unlink()


def _merged(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Two sorted arrays without a key in common as one, block by block."""
    done = 0
    for start in range(0, len(first), _BLOCK_KEYS):
        block = first[start : start + _BLOCK_KEYS]
        is_last = start + len(block) == len(first)
        end = len(second) if is_last else int(np.searchsorted(second, block[-1]))
        yield np.sort(np.concatenate([block, second[done:end]]), kind="stable")
        done = end
