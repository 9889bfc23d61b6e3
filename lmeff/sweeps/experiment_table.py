"""The table of experiments of lm-efficiency-analysis, `configs.csv`, as a sweep.

What was trained there is not all that the table says: the batch was that of the size, whatever the row asked for, and epochs
counted only where an anchor is -1, the whole run. The sweep has what was trained, and `said` tells the rest.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lmeff.errors import InputError
from lmeff.files import write_text
from lmeff.quantities import parse_count
from lmeff.recipe.files import find_recipe, read_layer
from lmeff.recipe.wording import did_you_mean, show

_COLUMNS = ("model_config", "dataset", "anchors", "tokenizer_vocab_size")
_OPTIONAL = ("epochs", "batch_size", "grad_accum", "seq_length", "gpus_used")
_SIZES = ("20m", "60m", "180m")
_CORPORA: dict[str, dict[str, Any]] = {
    "tinystories": {"corpus.name": "tinystories"},
    "babylm": {"corpus.name": "babylm", "corpus.track": "100M"},
    "babylm3": {"corpus.name": "babylm3", "corpus.track": "100M"},
    "hybrid_3.7B": {"corpus.name": "hybrid_3.7B"},
}
"""By the table's `dataset`."""
_SEEDS = [0, 1, 2]
_USUAL_LENGTH, _USUAL_EPOCHS = 256, 50
_HEAD = """# From {csv}, a table of experiments of lm-efficiency-analysis: what was trained there, and not all that it says.
# Anchors of a row are a run each, with a schedule of its own (anchors.mode: restart), as there. An anchor of -1 is the
# whole run, kept at the published milestones; its schedule ends at the last of them, where there it went on.
"""


@dataclass
class ExperimentTable:
    """Cases by their names, each with the keys that it sets, and what the table says without effect."""

    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Lines about columns that were, or are, ignored."""


def read_experiment_table(path: Path) -> ExperimentTable:
    """Raises InputError with all mistakes at once, each with its line and column."""
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), skipinitialspace=True)
    there = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = there
    if missing := [name for name in _COLUMNS if name not in there]:
        raise InputError(
            f"{path}:1: no column {missing[0]!r}{did_you_mean(missing[0], there)}; it has {', '.join(there) or 'none'}"
        )
    table, mistakes, lines = ExperimentTable(), list[str](), dict[str, int]()
    other_batches, epochs_without_effect = list[int](), list[int]()
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if None in row:
            mistakes.append(f'{where}: has more cells than the head; lists stand in quotes, as "[25, 50]"')
            continue
        try:
            experiment = _Experiment.read(row, where)
        except InputError as error:
            mistakes += error.mistakes
            continue
        for name, settings in experiment.cases():
            if name in table.cases:
                mistakes.append(f"{where}: is {name}, as line {lines[name]} is; one would overwrite the other")
            table.cases[name], lines[name] = settings, rows.line_num
        if experiment.asks_for_another_batch:
            other_batches.append(rows.line_num)
        if experiment.epochs is not None and -1 not in experiment.anchors:
            epochs_without_effect.append(rows.line_num)
    if mistakes:
        raise InputError(*mistakes)
    if not table.cases:
        raise InputError(f"{path}: no row below its head")
    table.said = list(_ignored(there, other_batches, epochs_without_effect))
    return table


def write_sweep(table: ExperimentTable, source: Path, path: Path) -> None:
    """Writes the sweep of a table that was read from `source`. Raises InputError for a file that is there."""
    if path.exists():
        raise InputError(f"-o {path}: is there already; remove it, or name another file")
    study = {"sweep": path.stem, "recipe": "base/llama", "seeds": _SEEDS, "axes": {"experiment": table.cases}}
    text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=120)
    write_text(path, _HEAD.format(csv=source.name) + text)


@dataclass(frozen=True)
class _Experiment:
    """A row."""

    size: str
    dataset: str
    vocab_size: int
    length: int
    anchors: tuple[int, ...]
    """Million tokens, or -1."""
    epochs: int | None
    asked_sequences: int | None
    """Of a step, as the row says; it had no effect."""

    @classmethod
    def read(cls, row: dict[str, str], where: str) -> "_Experiment":
        """Raises InputError with the mistakes of a row."""
        mistakes: list[str] = []
        size = _one_of(row, "model_config", _SIZES, where, mistakes)
        dataset = _one_of(row, "dataset", _CORPORA, where, mistakes)
        numbers = {
            name: _count(row, name, where, mistakes)
            for name in ("tokenizer_vocab_size", "seq_length", "epochs", "batch_size", "grad_accum")
        }
        if numbers["tokenizer_vocab_size"] is None:
            mistakes.append(f"{where}: tokenizer_vocab_size: is empty")
        anchors = _anchors(row, where, mistakes)
        if mistakes:
            raise InputError(*mistakes)
        batch, accumulation = numbers["batch_size"], numbers["grad_accum"] or 1
        return cls(
            size,
            dataset,
            numbers["tokenizer_vocab_size"] or 0,
            numbers["seq_length"] or _USUAL_LENGTH,
            anchors,
            numbers["epochs"],
            batch and batch * accumulation,
        )

    def cases(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """One of the anchors that are runs of their own, and one of the whole run."""
        length = "" if self.length == _USUAL_LENGTH else f"-len{self.length}"
        name = f"{self.dataset}-{self.size}-tok{self.vocab_size}{length}"
        own = [one for one in self.anchors if one != -1]
        if own:
            restart = {"anchors.mode": "restart"} if len(own) > 1 else {}
            yield name, {**self._settings(_USUAL_EPOCHS), "anchors.tokens": [f"{one}M" for one in own], **restart}
        if -1 in self.anchors:
            yield f"{name}-whole" if own else name, self._settings(self.epochs or _USUAL_EPOCHS)

    def _settings(self, epochs: int) -> dict[str, Any]:
        settings = {**_CORPORA[self.dataset], "corpus.epochs": epochs, "model.size": self.size}
        settings |= {"tokenizer.vocab_size": self.vocab_size, "batch.sequence_length": self.length}
        settings["batch.tokens"] = self._sequences * self.length
        return settings | {f"optimizer.{key}": value for key, value in _of_size(self.size)["optimizer"].items()}

    @property
    def _sequences(self) -> int:
        """Of a step, as the size had them."""
        return _of_size(self.size)["batch"]["tokens"] // _USUAL_LENGTH

    @property
    def asks_for_another_batch(self) -> bool:
        return self.asked_sequences not in (None, self._sequences)


def _of_size(size: str) -> dict[str, Any]:
    """What recipes/base/llama_SIZE.yaml says."""
    return read_layer(find_recipe(f"base/llama_{size}")).values


def _one_of(row: dict[str, str], name: str, known: Any, where: str, mistakes: list[str]) -> str:
    value = (row.get(name) or "").strip()
    if value not in known:
        mistakes.append(
            f"{where}: {name}: {show(value)} is none of {', '.join(known)}{did_you_mean(value, list(known))}"
        )
    return value


def _count(row: dict[str, str], name: str, where: str, mistakes: list[str]) -> int | None:
    """None for a cell or a column that is not there."""
    value = (row.get(name) or "").strip()
    try:
        number = parse_count(value) if value else None
    except ValueError:
        number = 0
    if number is not None and number < 1:
        mistakes.append(f"{where}: {name}: must be a whole number above 0, not {show(value)}")
    return number


def _anchors(row: dict[str, str], where: str, mistakes: list[str]) -> tuple[int, ...]:
    value = (row.get("anchors") or "").strip()
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        read = None
    anchors = read if isinstance(read, list) else [read]
    if not anchors or not all(type(one) is int and (one > 0 or one == -1) for one in anchors):
        mistakes.append(
            f"{where}: anchors: must be millions of tokens as JSON, such as [25, 50], or -1, not {show(value)}"
        )
        return ()
    return tuple(sorted(set(anchors)))


def _ignored(there: list[str], other_batches: list[int], epochs: list[int]) -> Iterator[str]:
    if {"batch_size", "grad_accum"} & set(there):
        sizes = ", ".join(f"{size} {_of_size(size)['batch']['tokens'] // _USUAL_LENGTH}" for size in _SIZES)
        asked = (
            f"; another one is asked for in {_lines(other_batches)}" if other_batches else ", which the table has, too"
        )
        yield f"ignored there: batch_size, grad_accum. Each size had its own number of sequences a step, {sizes}{asked}"
    if epochs:
        yield f"ignored there: epochs, in {_lines(epochs)}, whose anchors say how many steps there are"
    if "gpus_used" in there:
        yield "ignored here: gpus_used, which changes nothing that is trained"
    if unknown := [name for name in there if name not in (*_COLUMNS, *_OPTIONAL)]:
        yield f"ignored here: {', '.join(unknown)}, which such a table does not have"


def _lines(numbers: list[int]) -> str:
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
