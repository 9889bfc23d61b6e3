"""`run.log.jsonl`: a line for every logged step; and what it has in common with other logs of steps."""

import json
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from lmeff.files import write_text
from lmeff.formats.base import LossKind, NonNegative, StrictModel


class LogRecord(StrictModel):
    """One line of `run.log.jsonl`."""

    left_out_when_null: ClassVar[frozenset[str]] = frozenset({"loss_kind", "teacher_loss"})

    step: NonNegative
    tokens: NonNegative
    epoch: float
    loss: float | None
    """Mean training loss over `loss_steps`, nats per position with a loss, which `loss_kind` names."""
    grad_norm: float | None
    learning_rate: float
    tokens_per_second: float | None
    num_loss_tokens: NonNegative
    """Positions with a loss since the start of the run. A sequence of L tokens has L - 1 of them, and fewer with padding, with
    `batch.document_mask` or when it is cut into pieces."""
    num_skipped_steps: NonNegative
    time: str
    """UTC, ISO 8601."""
    loss_steps: tuple[int, int] | None = None
    """First and last step, counted from 1, over which `loss` is the mean: those since the last record. Null where `loss` is,
    and in files of older versions."""
    loss_kind: LossKind | None = None
    """What is predicted, where that is not the next token: losses of different kinds are not comparable. Only there."""
    teacher_loss: float | None = None
    """Mean over the same steps of the teachers' term, T^2 x KL in nats per position with a loss. Only of distilled models. With
    kept teachers it is another number: of `top_k` never above the whole KL, of `sampled` an estimate of it."""

    def append(self, path: Path) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(self.model_dump_json(exclude=self.left_out()) + "\n")


def read_log(path: Path) -> tuple[LogRecord, ...]:
    """The records of a log in rising order of steps; empty when there is no such file.

    A run that was killed may have left half a line, and its successor may have gone on in the same line: what cannot be
    read is left out. A record that goes back in steps comes from a resumed run, and everything logged from that step
    on is being done again: the later record wins.
    """
    if not path.is_file():
        return ()
    records: list[LogRecord] = []
    for line in path.read_bytes().splitlines():
        try:
            record = LogRecord.model_validate_json(line)
        except ValidationError:
            continue
        while records and records[-1].step >= record.step:
            records.pop()
        records.append(record)
    return tuple(records)


def forget_after(path: Path, step: int) -> None:
    """Drops the records past a step, for a run that goes on from there, and a line that was cut off. For every file of JSON
    lines with a `step`."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    write_text(path, "".join(line + "\n" for line in kept))
