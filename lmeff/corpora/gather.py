"""From files to text shards: read in order, worked on by any number of processes, written in order.

Only what concerns one document alone is done beside; what concerns several (duplicates, budgets) is decided here, in the order
of the files. So the text is the same for any number of processes, and after a restart, which goes on at the last saved place.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lmeff.corpora.amount import NO_LIMITS, Amount
from lmeff.corpora.cleaning.key_set import KeySet
from lmeff.corpora.documents import DocumentMaker, Kept, Outcome, Rules
from lmeff.corpora.mixture import check_reached
from lmeff.corpora.reading.origins import SourceFile
from lmeff.corpora.reading.records import Batch, read_batches
from lmeff.corpora.text_shards import TextWriter
from lmeff.corpora.workers import end_with_parent, in_order, num_workers, worker_pool
from lmeff.errors import TooLittleText
from lmeff.files import write_text
from lmeff.progress import progress

SIDES = ("train", "dev")
JOURNAL = "journal.json"
_SAVE_EVERY_CHARACTERS = 8 << 20
_FEW_BYTES = 24 << 20
_KEPT_EXAMPLES = 100
_SETS = {
    "dev": [("exact.dev", "duplicate"), ("near.dev", "near duplicate")],
    "train": [
        ("exact.dev", "held out"),
        ("exact.train", "duplicate"),
        ("near.dev", "nearly held out"),
        ("near.train", "near duplicate"),
    ],
}
"""Side -> (set of keys, reason) that its documents are held against."""


@dataclass(frozen=True)
class Stage:
    """One source's files of one side."""

    source: str
    files: Sequence[SourceFile]
    rules: Rules
    max_words: int | None = None
    """Words at which the source ends, held-out text included."""
    epochs: float = 1
    """How often its text may be read to have that many."""


# ---------------------------------------------------------------------- beside


_makers: list[DocumentMaker] = []


def _begin_worker(stages: Sequence[Rules]) -> None:
    end_with_parent()
    _makers[:] = [DocumentMaker(rules) for rules in stages]


def _work(stage: int, number: int, batch: Batch, domain: str, stem: str) -> tuple[int, Outcome]:
    return number, _makers[stage](batch, domain, stem)


# ---------------------------------------------------------------------- in order


class Gathering:
    """The text of a corpus on its way to disk, and everything that decides what comes next."""

    def __init__(self, folder: Path, stages: Sequence[Stage]) -> None:
        """`folder` may hold what an earlier, interrupted call of the same corpus left."""
        self._folder, self._stages = folder, stages
        self._journal = folder / JOURNAL
        saved = json.loads(self._journal.read_text(encoding="utf-8")) if self._journal.exists() else {}
        self._place: list[int] = saved.get("place", [0, 0, 0])
        """Stage, file and batch to go on with."""
        self._stage_words: int = saved.get("stage_words", 0)
        self._held_out_words: int = saved.get("held_out_words", 0)
        self._has_enough: bool = saved.get("has_enough", False)
        self.writers = {side: TextWriter(folder, side, saved.get(side, [])) for side in SIDES}
        self.left_out: dict[str, dict[str, dict[str, int]]] = saved.get("left_out", {side: {} for side in SIDES})
        """Side -> domain -> reason -> documents."""
        self.cleaning: dict[str, dict[str, dict[str, int]]] = saved.get("cleaning", {})
        self.num_taken_out: int = saved.get("num_taken_out", 0)
        self.examples: list[str] = saved.get("examples", [])
        """The first sentences of evaluation data that were taken out."""
        self.cut: dict[str, int] = saved.get("cut", {"num_documents": 0, "num_held_out_pieces": 0})
        """Documents that were cut for their length, and pieces of them that are held out."""
        self._amount = Amount(**saved.get("amount", {}))
        self._ends: list[list[int]] = saved.get("ends", [])
        """Stage, words and held-out words of the sources that ended before they had all their words."""
        self.short: dict[str, int] = saved.get("short", {})
        """Words of the sources that have fewer than they should."""
        names = ("exact.train", "exact.dev", "near.train", "near.dev")
        self._keys = {name: KeySet(folder, name, saved.get("keys", {}).get(name, [])) for name in names}
        self._save_at = _SAVE_EVERY_CHARACTERS

    def __enter__(self) -> "Gathering":
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers.values():
            with suppress(OSError):  # of what was not saved, nothing is used
                writer.leave()

    def run(self) -> None:
        """Reads everything that is left. Raises InputError for text that cannot be read."""
        todo = sum(file.size for stage in self._stages for file in stage.files)
        done = sum(file.size for stage in self._stages[: self._place[0]] for file in stage.files)
        with ExitStack() as stack:
            bar = stack.enter_context(progress("text", todo, done))
            num_beside = num_workers(todo, _FEW_BYTES) - 1
            rules = [stage.rules for stage in self._stages]
            pool = None
            if num_beside:
                pool = worker_pool(num_beside, _begin_worker, (rules,))
                stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            makers = [DocumentMaker(each) for each in rules]
            for index in range(self._place[0], len(self._stages)):
                self._run_stage(index, makers[index], pool, num_beside, bar)
        for writer in self.writers.values():
            writer.close()

    def _run_stage(
        self, index: int, maker: DocumentMaker, pool: ProcessPoolExecutor | None, num_beside: int, bar: tqdm
    ) -> None:
        stage = self._stages[index]
        enough = self._has_enough
        for file_index in range(self._place[1], len(stage.files)):
            file = stage.files[file_index]
            batches = read_batches(file.fetch(), stage.rules.form)
            seen = 0
            for batch_index, outcome in self._outcomes(index, batches, file, maker, pool, num_beside):
                if batch_index >= self._place[2]:
                    enough = self._take(stage, outcome)
                    # A restart must not read on what has enough.
                    after = [index, len(stage.files), 0] if enough else [index, file_index, batch_index + 1]
                    self._place = after
                    self._maybe_save(outcome.num_characters)
                step = min(outcome.num_characters, file.size - seen)
                seen += step
                bar.update(step)
                if enough:
                    break
            bar.update(file.size - seen)
            if enough:
                break
            self._place = [index, file_index + 1, 0]
        if stage.max_words and not self._has_enough:
            self._note_short(index)
        self._place, self._stage_words, self._held_out_words = [index + 1, 0, 0], 0, 0
        self._has_enough = False
        self._save()

    def limits(self, dev_share: float | None) -> tuple[int, int] | None:
        """The lengths up to which rows, and files, stay whole; None when none is longer, or that is settled."""
        if not dev_share or self._stages[0].rules.whole_characters != NO_LIMITS:
            return None
        return self._amount.limits(dev_share)

    def check_words(self) -> None:
        """Raises TooLittleText for a source that has fewer words than it should."""
        for index, words, held_out in self._ends:
            stage = self._stages[index]
            assert stage.max_words, "only a source with a number of words ends before it has them"
            if (words - held_out) * stage.epochs < stage.max_words - held_out:
                key, advice = ("corpus", "") if not stage.source else (f"corpus.sources.{stage.source}", " or epochs")
                raise TooLittleText(
                    f"{key}: has {words:,} words of the {stage.max_words:,} that corpus.budget wants of it; give it more"
                    f" text{advice}, or lower the budget"
                )

    def _note_short(self, index: int) -> None:
        stage = self._stages[index]
        self._ends.append([index, self._stage_words, self._held_out_words])
        # When a document is cut, less of it may be held out, and more is left to be read again. One that is not too much of
        # the text so far will not be cut, however much comes after it.
        if not self.limits(stage.rules.dev_share):
            self.check_words()
        self.short[stage.source] = self._stage_words

    def _outcomes(
        self,
        stage: int,
        batches: Iterator[Batch],
        file: SourceFile,
        maker: DocumentMaker,
        pool: ProcessPoolExecutor | None,
        num_beside: int,
    ) -> Iterator[tuple[int, Outcome]]:
        """(number, outcome) of each batch, in order; those that are done already are empty."""
        first = self._place[2]

        def here(item: tuple[int, Batch]) -> tuple[int, Outcome]:
            return item[0], maker(item[1], file.domain, file.stem)

        numbered = enumerate(batches)
        for number, batch in itertools.islice(numbered, first):
            yield number, Outcome(file.domain, batch.num_characters)
        if pool is None:
            yield from map(here, numbered)
            return

        def beside(item: tuple[int, Batch]) -> Future[tuple[int, Outcome]]:
            return pool.submit(_work, stage, *item, file.domain, file.stem)

        yield from in_order(numbered, beside, here, num_beside)

    def _take(self, stage: Stage, outcome: Outcome) -> bool:
        """Writes what stays of a batch; whether the source has all its words now."""
        side, domain = stage.rules.side, outcome.domain
        for rule, count in outcome.cleaning.items():
            total = self.cleaning.setdefault(domain, {}).setdefault(rule, {"documents": 0, "characters": 0})
            for unit, number in count.items():
                total[unit] += number
        self._count(side, domain, outcome.left_out)
        self.num_taken_out += len(outcome.taken_out)
        self.examples += outcome.taken_out[: _KEPT_EXAMPLES - len(self.examples)]
        for kept, reason in zip(outcome.kept, self._duplicates(outcome.kept, side), strict=True):
            if reason := reason or self._fresh_duplicate(kept, side):
                self._count(side, domain, {reason: 1})
                continue
            if stage.max_words and self._stage_words + kept.num_words > stage.max_words:
                check_reached(stage.source, self._stage_words, stage.max_words, kept.num_words, "words")
                self._has_enough = True
                return True
            self._stage_words += kept.num_words
            self._amount.add(kept)
            self._remember(kept, side)
            self._held_out_words += sum(piece.num_words for piece in kept.pieces if piece.side == "dev")
            self.cut["num_documents"] += kept.is_cut
            self.cut["num_held_out_pieces"] += kept.is_cut and sum(piece.side == "dev" for piece in kept.pieces)
            for piece in kept.pieces:
                self.writers[piece.side].write(piece, stage.source, domain)
        return False

    def _count(self, side: str, domain: str, reasons: dict[str, int]) -> None:
        for reason, number in reasons.items():
            counts = self.left_out[side].setdefault(domain, {})
            counts[reason] = counts.get(reason, 0) + number

    # ------------------------------------------------------------------ duplicates

    def _duplicates(self, kept: list[Kept], side: str) -> list[str | None]:
        """Why each document is left out for what is on disk; looked up all at once."""
        reasons: list[str | None] = [None] * len(kept)
        if not kept or kept[0].key is None:
            return reasons
        for name, reason in reversed(_SETS[side]):
            if name.startswith("exact"):
                found = self._keys[name].in_runs(np.array([one.key for one in kept], np.uint64))
            else:
                keys = np.array([key for one in kept for key in one.near_keys], np.uint64)
                width = len(kept[0].near_keys)
                found = self._keys[name].in_runs(keys).reshape(-1, width).any(1) if width else np.zeros(len(kept), bool)
            reasons = [reason if one else before for one, before in zip(found, reasons, strict=True)]
        return reasons

    def _fresh_duplicate(self, kept: Kept, side: str) -> str | None:
        if kept.key is None:
            return None
        for name, reason in _SETS[side]:
            fresh = self._keys[name].fresh
            if fresh and (kept.key in fresh if name.startswith("exact") else not fresh.isdisjoint(kept.near_keys)):
                return reason
        return None

    def _remember(self, kept: Kept, side: str) -> None:
        if kept.key is not None:
            self._keys[f"exact.{side}"].fresh.add(kept.key)
            self._keys[f"near.{side}"].fresh.update(kept.near_keys)

    # ------------------------------------------------------------------ restarts

    def _maybe_save(self, num_characters: int) -> None:
        self._save_at -= num_characters
        if self._save_at <= 0 or any(keys.is_full for keys in self._keys.values()):
            self._save()

    def _save(self) -> None:
        self._save_at = _SAVE_EVERY_CHARACTERS
        state: dict[str, Any] = {side: writer.save() for side, writer in self.writers.items()}
        state |= {"place": self._place, "stage_words": self._stage_words, "short": self.short}
        state |= {"held_out_words": self._held_out_words, "has_enough": self._has_enough}
        state |= {"amount": asdict(self._amount), "ends": self._ends, "settled": self._settled()}
        state |= {"cut": self.cut, "left_out": self.left_out, "cleaning": self.cleaning}
        state |= {"num_taken_out": self.num_taken_out, "examples": self.examples}
        state["keys"] = {name: keys.save() for name, keys in self._keys.items()}
        write_text(self._journal, json.dumps(state, ensure_ascii=False))
        for keys in self._keys.values():
            keys.forget_others()

    def _settled(self) -> dict[str, Any]:
        """What was decided by all of the text, and a restart must go on with."""
        rules = self._stages[0].rules
        return {"dev_share": rules.dev_share, "whole_characters": rules.whole_characters}

    def forget(self) -> None:
        """Removes what only a restart needs."""
        for path in (self._journal, *self._folder.glob("exact.*.npy"), *self._folder.glob("near.*.npy")):
            path.unlink(missing_ok=True)


def settled_rules(folder: Path) -> dict[str, Any]:
    """The rules that an interrupted call had decided by all of the text."""
    journal = folder / JOURNAL
    found = json.loads(journal.read_text(encoding="utf-8")).get("settled", {}) if journal.exists() else {}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
