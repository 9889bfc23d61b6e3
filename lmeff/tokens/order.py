"""Which sequences a step reads: a pure function of (seed, step).

Training reads one endless stream: a permutation of all sequences, then another one, and so on. Step s reads positions
[s x batch, (s + 1) x batch) of it, so that every step is full and a batch may straddle two epochs.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from lmeff.clock import Clock
from lmeff.tokens.excerpt import Excerpt
from lmeff.tokens.permutations import permutation


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


class DataOrder(ABC):
    """Which sequences a step reads: a pure function of (seed, stage, step), so that the number of processes and restarts change
    nothing about it.

    Most orders are known for the whole run. An order whose later stages depend on the run so far (a curriculum extends or
    reselects its prefix) decides a stage once, keeps the decision in its `state`, which every checkpoint has, and answers for
    all stages that are decided. Only such an order has a state.
    """

    clock: Clock
    """How many sequences a step reads."""
    num_sequences: int
    """How many different sequences the whole text has; their ids are below it."""

    @abstractmethod
    def sequences(self, step: int) -> np.ndarray:
        """Ids of the sequences that step `step`, counted from 0, reads, in their places in the global batch:
        (sequences per step,) int64."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Equal for equal orders, whatever stages they have decided; a resumed run refuses to go on in another order."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, as JSON takes it; empty where the order follows from the recipe and the text."""
        return {}

    def load_state(self, saved: dict[str, Any]) -> None:
        """Goes on from a checkpoint's `state`. Raises ValueError for that of another order."""
        if saved:
            raise ValueError(f"this order of sequences keeps no state, and the checkpoint has {', '.join(saved)}")

    def excerpt(self, step: int) -> Excerpt | None:
        """The text that the sequences of step `step` are cut from, where they are not cut from the whole text. An order that
        changes it once a stage names its sequences from the excerpt's `first_id`."""
        return None

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Steps `begin` to `end - 1` as stretches (first, end), each of steps that read sequences of one text."""
        yield begin, end

    def total(self, of_sequences: np.ndarray, begin: int, end: int) -> int:
        """Sum of a number of each sequence of a text, (sequences,) int64, over what steps `begin` to `end - 1` read, all of
        that text."""
        excerpt = self.excerpt(begin)
        first_id = excerpt.first_id if excerpt else 0
        return sum(int(of_sequences[self.sequences(step) - first_id].sum()) for step in range(begin, end))


class PermutationOrder(DataOrder):
    """Epoch after epoch of all sequences, each in an order of its own. A step may straddle two epochs, so that every step is
    full."""

    def __init__(self, num_sequences: int, seed: int, clock: Clock) -> None:
        self.num_sequences, self.clock = num_sequences, clock
        self._stream = SampleOrder(num_sequences, seed)

    def sequences(self, step: int) -> np.ndarray:
        return self._stream.sequence_ids(self.clock.sequences_at(step), self.clock.sequences_per_step)

    @property
    def fingerprint(self) -> str:
        facts = f"permutation/{self.num_sequences}/{self._stream.seed}/{self.clock.sequences_per_step}"
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def total(self, of_sequences: np.ndarray, begin: int, end: int) -> int:
        first, last = map(self.clock.sequences_at, (begin, end))
        total, of_an_epoch = 0, int(of_sequences.sum())
        while first < last:
            count = min(self.num_sequences - first % self.num_sequences, last - first)
            # A whole epoch has the same sequences in every order.
            whole = count == self.num_sequences
            total += of_an_epoch if whole else int(of_sequences[self._stream.sequence_ids(first, count)].sum())
            first += count
        return total


class WrappedOrder(DataOrder):
    """Another order, changed. Whoever derives from it overrides what differs, and adds to the fingerprint."""

    def __init__(self, inner: DataOrder) -> None:
        self.inner, self.clock, self.num_sequences = inner, inner.clock, inner.num_sequences

    def sequences(self, step: int) -> np.ndarray:
        return self.inner.sequences(step)

    def excerpt(self, step: int) -> Excerpt | None:
        return self.inner.excerpt(step)

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        return self.inner.stretches(begin, end)

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def own_state(self) -> dict[str, Any]:
        """As `state`, of this wrapper alone."""
        return {}

    def load_own_state(self, saved: dict[str, Any]) -> None:
        """As `load_state`, of this wrapper alone."""

    def state(self) -> dict[str, Any]:
        parts = {"own": self.own_state(), "inner": self.inner.state()}
        return {name: part for name, part in parts.items() if part}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.load_own_state(saved.get("own", {}))
        self.inner.load_state(saved.get("inner", {}))
