"""Orders of a curriculum: stage after stage, each with documents of its own, cut into sequences and shuffled as all text is.

A stage's sequences are a pure function of (seed, stage, step - first step of the stage). All steps are full: one that comes to
the end of the stage's text goes on with it in another order.
"""

import base64
import hashlib
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lmeff.errors import InputError
from lmeff.recipe.sections.batch import Batch
from lmeff.stateless import stateless_seed
from lmeff.tokens import DataOrder, Excerpt, Tokens, WrappedOrder, positions_per_epoch
from lmeff.tokens.order import SampleOrder
from lmeff.tokens.permutations import permutation

_IDS_OF_STAGE = 1 << 40
"""More than any text has sequences: ids of stage s begin with s times as many, and those of the whole text with 0."""


@dataclass(frozen=True)
class Reading:
    """The sequences of one stage."""

    excerpt: Excerpt | None
    """None where it reads the whole text as it is."""
    stream: SampleOrder


class StagedOrder(WrappedOrder):
    """A step belongs to a stage, and a stage has documents."""

    def __init__(self, inner: DataOrder, tokens: Tokens, batch: Batch, seed: int) -> None:
        super().__init__(inner)
        self.tokens, self._batch, self._seed = tokens, batch, seed
        # Those of two stages: of a long run of many stages, all together would not fit the memory.
        self._reading = lru_cache(2)(self._read)

    @abstractmethod
    def stage_at(self, step: int) -> tuple[int, int]:
        """The stage of a step, and the stage's first step."""

    @abstractmethod
    def next_stage(self, step: int) -> int | None:
        """First step of the stage after that of `step`; None where that one is not decided."""

    @abstractmethod
    def documents_of(self, stage: int) -> np.ndarray | None:
        """The documents that a stage reads, in the order of its text; None for all, in their own order."""

    def _read(self, stage: int) -> Reading:
        documents, seed = self.documents_of(stage), stateless_seed(self._seed, "curriculum", stage)
        if documents is None:
            return Reading(None, SampleOrder(self.num_sequences, seed))
        excerpt = Excerpt.of(self.tokens, documents, (stage + 1) * _IDS_OF_STAGE)
        num_positions = positions_per_epoch(excerpt, self._batch) if len(documents) else 0
        if num_positions < (length := self._batch.sequence_length):
            raise InputError(
                f"curriculum: stage {stage + 1} has {len(documents):,} documents of {num_positions:,} tokens, fewer than one"
                f" sequence of {length} (batch.sequence_length); raise curriculum.start"
            )
        return Reading(excerpt, SampleOrder(num_positions // length, seed))

    def _is_plain(self, stage: int) -> bool:
        """Whether a stage is the beginning of training without a curriculum."""
        return not stage and self.documents_of(stage) is None

    def sequences(self, step: int) -> np.ndarray:
        stage, first_step = self.stage_at(step)
        if self._is_plain(stage):
            return self.inner.sequences(step)
        reading = self._reading(stage)
        ids = reading.stream.sequence_ids(self.clock.sequences_at(step - first_step), self.clock.sequences_per_step)
        return ids if reading.excerpt is None else ids + reading.excerpt.first_id

    def excerpt(self, step: int) -> Excerpt | None:
        stage, _ = self.stage_at(step)
        return None if self.documents_of(stage) is None else self._reading(stage).excerpt

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        while begin < end:
            following = self.next_stage(begin)
            last = end if following is None else min(end, following)
            yield begin, last
            begin = last

    def total(self, of_sequences: np.ndarray, begin: int, end: int) -> int:
        if self._is_plain(self.stage_at(begin)[0]):
            return self.inner.total(of_sequences, begin, end)
        return super().total(of_sequences, begin, end)

    def _fingerprint_of(self, *facts: object) -> str:
        """Of the order with all that decides its stages but the run itself."""
        parts = [self.inner.fingerprint, self._seed, *facts]
        return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]


class ShuffledDocuments(StagedOrder):
    """Every epoch is a stage: its documents are all, shuffled. An epoch ends with the first step after which all of it was
    read, so that its last step may read a few sequences of it again."""

    def __init__(self, inner: DataOrder, tokens: Tokens, batch: Batch, seed: int, num_plain_epochs: int = 1) -> None:
        """The text is as it is in the first `num_plain_epochs`."""
        super().__init__(inner, tokens, batch, seed)
        self._num_plain = num_plain_epochs
        self._steps_per_epoch = self.clock.step_of(self.num_sequences * batch.sequence_length)

    def stage_at(self, step: int) -> tuple[int, int]:
        stage = max(0, step // self._steps_per_epoch - self._num_plain + 1)
        return stage, (stage + self._num_plain - 1) * self._steps_per_epoch if stage else 0

    def next_stage(self, step: int) -> int:
        return (self.stage_at(step)[0] + self._num_plain) * self._steps_per_epoch

    def documents_of(self, stage: int) -> np.ndarray | None:
        if not stage:
            return None
        seed = stateless_seed(self._seed, "documents of an epoch")
        return permutation(len(self.tokens.train_documents), seed, stage)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint_of("full_random", self._num_plain)


@dataclass(frozen=True)
class Stage:
    """A decision: what is read from a step on."""

    number: int
    """As the recipe counts them, from 0; a run that goes fast may leave some out."""
    first_step: int
    share: float
    documents: np.ndarray | None
    """As `documents_of` has them."""


class DecidedStages(StagedOrder):
    """Stages that are decided one after the other as the run goes on. Decisions are its state."""

    def __init__(self, inner: DataOrder, tokens: Tokens, batch: Batch, seed: int, facts: str) -> None:
        """`facts` are what decides the stages, for the fingerprint."""
        super().__init__(inner, tokens, batch, seed)
        self._facts = facts
        self.stages: list[Stage] = []
        self.flops = 0.0
        """What was computed to decide them."""

    def begin(self, stage: Stage) -> None:
        """From its first step on, the stage's documents are read. Raises InputError when they fill no sequence."""
        self.stages.append(stage)
        self._reading.cache_clear()
        if stage.documents is not None:
            self._reading(len(self.stages) - 1)

    def stage_at(self, step: int) -> tuple[int, int]:
        stage = sum(one.first_step <= step for one in self.stages) - 1
        return stage, self.stages[stage].first_step

    def next_stage(self, step: int) -> int | None:
        following = self.stage_at(step)[0] + 1
        return self.stages[following].first_step if following < len(self.stages) else None

    def documents_of(self, stage: int) -> np.ndarray | None:
        return self.stages[stage].documents

    @property
    def fingerprint(self) -> str:
        return self._fingerprint_of("iterative", self._facts)

    def own_state(self) -> dict[str, Any]:
        return {
            "num_documents": len(self.tokens.train_documents),
            "flops": self.flops,
            "stages": [
                {
                    "number": one.number,
                    "first_step": one.first_step,
                    "share": one.share,
                    "documents": None if one.documents is None else _as_text(one.documents),
                }
                for one in self.stages
            ],
        }

    def load_own_state(self, saved: dict[str, Any]) -> None:
        found, wanted = saved.get("num_documents"), len(self.tokens.train_documents)
        if found != wanted:
            raise ValueError(f"its curriculum is over {found} documents, and the training text has {wanted}")
        self.flops = saved["flops"]
        self.stages = [
            Stage(
                one["number"],
                one["first_step"],
                one["share"],
                None if one["documents"] is None else _from_text(one["documents"]),
            )
            for one in saved["stages"]
        ]
        self._reading.cache_clear()


def _as_text(documents: np.ndarray) -> str:
    """Numbers that mostly rise by little are small as differences."""
    steps = np.diff(documents, prepend=0).astype("<i4")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def _from_text(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4").astype(np.int64).cumsum()
