"""What each process answered to its share of the tasks: kept on disk until one of them joins the answers to results, so that
an evaluation that was killed goes on with the next task."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from lmeff.evaluation.results import write_table
from lmeff.files import write_text
from lmeff.formats.result import find_result


@dataclass(frozen=True)
class Part:
    """The answers to all requests of one task."""

    answers: dict[str, list]
    """By lm-eval's request type, in the order of asking."""
    pairs: pa.Table | None
    """Of a task of minimal pairs, the scores of all of them."""
    device: str
    num_cut: int
    """Contexts that were too long for the model and lost their beginning."""
    num_in_float32: int
    """How many of the answers are float32's; the others are bfloat16's."""
    error_bound: float
    """What bfloat16's error of a margin was taken to be at most, in nats."""
    compiled: bool
    """Whether bfloat16's answers come from compiled code."""

    @property
    def num_answers(self) -> int:
        return sum(map(len, self.answers.values()))


_FACTS = {field.name for field in fields(Part)} - {"pairs"}
"""What is in a part's JSON file beside what it was answered with."""


class PartStore:
    """The parts in a folder, by task. A part counts only for the model and settings that it was answered with.

    Args:
        about: what names model and settings.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder, about

    def read(self, task: str, asked_sha256: str, with_pairs: bool) -> Part | None:
        """The part of a task, None where that must be asked (again).

        Args:
            asked_sha256: of the texts that the task asks about.
            with_pairs: whether it is a task of minimal pairs.
        """
        content, pairs_path = find_result(self._path(task)), self._pairs_path(task)
        expected = {**self.about, "asked_sha256": asked_sha256}
        facts = {name: value for name, value in content.items() if name not in expected}
        is_other = any(content.get(name) != value for name, value in expected.items()) or facts.keys() != _FACTS
        if is_other or (with_pairs and not pairs_path.exists()):
            return None
        return Part(**facts, pairs=pyarrow.parquet.read_table(pairs_path) if with_pairs else None)

    def write(self, task: str, asked_sha256: str, part: Part) -> None:
        if part.pairs is not None:
            write_table(self._pairs_path(task), part.pairs)
        facts = {name: getattr(part, name) for name in _FACTS}
        write_text(self._path(task), json.dumps({**self.about, "asked_sha256": asked_sha256, **facts}))

    def remove(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            self._path(task).unlink(missing_ok=True)
            self._pairs_path(task).unlink(missing_ok=True)
        with suppress(OSError):  # of other tasks, that are not finished
            self.folder.rmdir()

    def _path(self, task: str) -> Path:
        return self.folder / f"{task}.json"

    def _pairs_path(self, task: str) -> Path:
        return self.folder / f"{task}.parquet"
