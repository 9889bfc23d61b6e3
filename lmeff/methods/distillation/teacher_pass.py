"""The teachers read the whole text once, before training, and what they say is kept. Every process fills some of the shards;
what a killed process had filled is there again. A cache that is there already is verified by all of them."""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device

from lmeff.errors import InputError
from lmeff.files import write_text
from lmeff.methods.distillation.asked import AskedTeachers
from lmeff.methods.distillation.cache import TeacherCache
from lmeff.methods.distillation.terms import teacher_log_probabilities
from lmeff.objectives import objective_of
from lmeff.progress import progress
from lmeff.recipe.schema import Recipe
from lmeff.stateless import stateless_seed, uniforms
from lmeff.tokens import Tokens
from lmeff.training.data.sequences import MicroBatch, TrainSequences

_BATCH_POSITIONS = 1 << 13
"""Read at once, whatever the launch: what is kept must not depend on it."""
_CHUNK_NUMBERS = 1 << 24
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
_PLACES = random.SystemRandom()
"""Apart from the recipe's seed: runs of one seed must not choose alike, and training must not notice."""


@dataclass
class TeacherPass:
    recipe: Recipe
    tokens: Tokens
    teachers: AskedTeachers
    cache: TeacherCache
    device: torch.device
    check_stop: Callable[[], None]

    def fill(self, rank: int, world_size: int) -> None:
        """Fills the shards of this process, and returns when all processes have filled theirs and the cache is sealed. They
        wait for each other by what is on disk, so that each of them can be stopped. Raises what `check_stop` does."""
        cache = self.cache
        missing = deque(number for number in cache.missing() if number % world_size == rank)
        if missing:
            total, done = sum(len(cache.rows_of(number)) for number in missing), 0
            with progress("teachers read the text", total * cache.length, done, "tokens") as bar:
                while missing:
                    number = missing.popleft()
                    if cache.shard(number).exists():
                        bar.update(len(cache.rows_of(number)) * cache.length)
                    elif cache.write_shard(number, self._shard(number, bar.update)):
                        continue
                    # Other runs fill the same cache, and one of them is here: go on elsewhere, each in a place of its own.
                    missing.rotate(_PLACES.randrange(len(missing) or 1))
        self._wait(lambda: not cache.missing())
        if rank == 0:
            cache.seal()
        self._wait(cache.is_whole)

    def verify(self, rank: int, world_size: int, launch: str) -> None:
        """Reads the shards of this process again, and returns when all processes have. They wait as in `fill`, for files in
        `verified(launch)`, which the caller removes when all have returned. Raises InputError, on all processes, for a file
        that is not what was written, and what `check_stop` does.

        Args:
            launch: a name that these processes have in common with no others.
        """
        if rank == 0:
            self.cache.remove_leftovers()
        mistakes = [self.cache.first_mistake(range(rank, self.cache.num_shards, world_size), self.check_stop)]
        if world_size > 1:
            told = [self.verified(launch) / str(one) for one in range(world_size)]
            write_text(told[rank], mistakes[0])
            self._wait(lambda: all(file.exists() for file in told))
            mistakes = [file.read_text() for file in told]
        if any(mistakes):
            raise InputError(next(filter(None, mistakes)))

    def verified(self, launch: str) -> Path:
        """Where the processes of a launch say that they have read their shards again, and what is wrong with them."""
        return self.cache.folder / f".verified-{launch}"

    def _wait(self, is_done: Callable[[], bool]) -> None:
        pause = _SHORTEST_PAUSE_SECONDS
        while not is_done():
            self.check_stop()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    @torch.no_grad()
    def _shard(self, number: int, count: Callable[[int], object]) -> np.ndarray:
        """Records of all rows of a shard, (rows, length)."""
        cache, whole = self.cache, self.recipe.batch.sequence_length
        text = TrainSequences(self.tokens, self.recipe.batch, objective_of(self.recipe, self.tokens))
        per_sequence, rows = whole // cache.length, cache.rows_of(number)
        sequences = range(rows.start // per_sequence, rows.stop // per_sequence)
        at_once, parts = max(1, _BATCH_POSITIONS // whole), list[np.ndarray]()
        for first in range(0, len(sequences), at_once):
            self.check_stop()
            ids = sequences[first : first + at_once]
            inputs = text.__getitems__(MicroBatch(ids, cache.length, step=0, first_slot=0))
            inputs = {name: value for name, value in inputs.items() if name not in ("targets", "micro_batch")}
            said = self.teachers.for_inputs(send_to_device(inputs, self.device))
            logits = [said[str(one)] for one in range(len(said))]
            first_row = ids.start * per_sequence
            parts.append(self._records(logits, range(first_row, first_row + len(logits[0]))))
            count(parts[-1].size)
        return np.concatenate(parts)

    def _records(self, logits: Sequence[torch.Tensor], rows: range) -> np.ndarray:
        """What is kept of these rows, (rows, length)."""
        settings, entries = self.recipe.distillation, self.recipe.model_vocab_size
        records = np.empty((len(rows), self.cache.length), self.cache.record)
        at_once = max(1, _CHUNK_NUMBERS // (self.cache.length * entries))
        for first in range(0, len(rows), at_once):
            here = slice(first, first + at_once)
            chunk = [one[here] for one in logits]
            log_p = teacher_log_probabilities(chunk, settings.temperature, settings.average, entries)
            if settings.cache.kind == "top_k":
                values, ids = log_p.topk(self.cache.record["ids"].shape[0])
                records["log_sum_exp"][here] = -values[..., 0].cpu().numpy()
                values = values - values[..., :1]
            else:
                ids = sample(log_p, stratified(rows[here], self.cache.length, self.cache.record["ids"].shape[0]))
                ids = ids.to(log_p.device)
                values = log_p.gather(-1, ids)
            records["ids"][here], records["values"][here] = ids.cpu().numpy(), values.half().cpu().numpy()
        return records


def stratified(rows: Sequence[int], length: int, k: int) -> np.ndarray:
    """`k` numbers in [0, 1) for each position, one from each of `k` equal parts, (rows, length, k) float64: functions of row
    and position alone."""
    drawn = uniforms([stateless_seed("what a teacher says", row) for row in rows], length * k)
    numbers: np.ndarray = (np.arange(k) + drawn.reshape(len(rows), length, k)) / k
    return numbers


def sample(log_p: torch.Tensor, numbers: np.ndarray) -> torch.Tensor:
    """Tokens by their probabilities, (rows, length, k) int64, as the numbers fall among the sums of these."""
    if torch.are_deterministic_algorithms_enabled():
        log_p = log_p.cpu()  # of a vocabulary a GPU's deterministic sums may take a table of all pairs
    sums = log_p.double().exp().cumsum(-1)
    wanted = torch.from_numpy(numbers).to(sums) * sums[..., -1:]
    return torch.searchsorted(sums, wanted, right=True).clamp(max=log_p.shape[-1] - 1)
