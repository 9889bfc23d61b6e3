"""The examples of a task, with a dev split made from the training examples."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError
from lmeff.evaluation.results import requests_sha256
from lmeff.measures.finetuning.rows import data_folder, file_names, read_rows
from lmeff.measures.finetuning.tasks import HUB, Task
from lmeff.recipe.sections.finetune import FinetuneSettings


class NoTrainingData(InputError):
    """A task has no training examples where its data are read from."""


@dataclass(frozen=True)
class Example:
    first: str
    second: str | None
    label: int | float
    index: int
    """Where it stands in its split, from 0."""
    question: str | None = None
    """What MultiRC's exact match goes by: all answers to one question of one paragraph."""
    passage: str | None = None
    """Its first text as published, where `first` has marks put in."""


@dataclass(frozen=True)
class TaskExamples:
    """The examples of a task, as they are trained on and scored."""

    task: Task
    labels: tuple[str, ...] | None
    """Names of the labels by number; None for regression."""
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    """Taken out of the training examples; no example of it has its first text, as published, in common with `train`."""
    validation: dict[str, tuple[Example, ...]]
    """By split as published, which may be called `dev` too; the first is the main one."""
    offered_labels: tuple[int | float, ...]
    """Of all training examples that there were, before the dev split was taken out and the rest cut to
    `max_train_examples`."""
    num_trainable: int
    """How many of them are not in the dev split, before both were cut."""
    source: str
    """Folder, file or Hub data set, for messages."""
    origin: str
    """`local` or the Hub data set: what results say, which may be published."""

    @property
    def num_offered(self) -> int:
        return len(self.offered_labels)

    @property
    def sha256(self) -> str:
        scored = {f"scored {split}": examples for split, examples in self.validation.items()}
        splits = {"train": self.train, "dev": self.dev, **scored}
        fields = {name: map(_fields, examples) for name, examples in splits.items()}
        return requests_sha256({**fields, "offered_labels": [map(repr, self.offered_labels)]})


def load_task(
    task: Task,
    settings: FinetuneSettings,
    folder: str | None,
    paths: Mapping[str, str],
    limit: int | None = None,
    groups: Sequence[str] = (),
) -> TaskExamples:
    """The examples of a task.

    Args:
        folder: holds `TASK_train.jsonl` and `TASK_validation.jsonl`; None for the folder of a suite with the task among
            `paths` or in LMEFF_EVAL_DATA, and without one the Hub.
        paths: folders by suite, such as `leaner_glue` (`evaluation.paths`).
        limit: at most so many examples of every split.
        groups: the suites that were asked for, whose folders come first.

    Raises NoTrainingData, and InputError naming file and line for what cannot be read.
    """
    folder = data_folder(task, folder, paths, groups)
    rows = {split: read_rows(task, split, folder) for split in (task.train, *task.validation)}
    if rows[task.train] is None:
        raise NoTrainingData(f"{task.name}: no training data in {folder} ({file_names(task, task.train)[0]})")
    if rows[task.validation[0]] is None:
        raise InputError(f"{folder}: no {file_names(task, task.validation[0])[0]}, on which {task.name} is scored")
    labels = task.labels
    if labels == ():
        labels = tuple(sorted({_label_name(_known_label(task, row, where)) for where, row in rows[task.train]}))
        if len(labels) < 2:
            raise InputError(f"{folder or task.files['train']}: all training examples of {task.name} have one label")
    examples = {
        split: tuple(_example(task, labels, index, row, where) for index, (where, row) in enumerate(split_rows))
        for split, split_rows in rows.items()
        if split_rows is not None
    }
    offered = examples.pop(task.train)
    train, dev = split_dev(offered, settings.dev_share, settings.max_dev_examples, task.name)
    most = min(filter(None, (settings.max_train_examples, limit)), default=None)
    validation = {split: _sample(split_examples, limit) for split, split_examples in examples.items()}
    source = str(folder) if folder else task.files.get("train") or HUB[task.suite]
    return TaskExamples(
        task,
        labels,
        _sample(train, most),
        _sample(dev, limit),
        validation,
        offered_labels=tuple(example.label for example in offered),
        num_trainable=len(train),
        source=source,
        origin="local" if folder or task.files else source,
    )


def split_dev(
    examples: Sequence[Example], share: float, most: int, name: str
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training examples without the dev split, and the dev split, both in the order given.

    Examples with the same first text as published (the questions about one passage, say) are all on one side: else a
    model could know the passages of the dev split by heart. Which texts these are is decided by their sha256 alone.
    """
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[_passage(example)] = sizes.get(_passage(example), 0) + 1
    wanted, taken, held = max(1, min(most, round(share * len(examples)))), 0, set()
    for text in sorted(sizes, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if taken >= wanted:
            break
        held.add(text)
        taken += sizes[text]
    if len(held) == len(sizes):
        raise InputError(f"{name}: too few different training examples ({len(sizes)}) to hold a dev split out")
    train = tuple(example for example in examples if _passage(example) not in held)
    return train, tuple(example for example in examples if _passage(example) in held)


def _passage(example: Example) -> str:
    return example.first if example.passage is None else example.passage


def _sample(examples: tuple[Example, ...], most: int | None) -> tuple[Example, ...]:
    """At most so many examples, in the order given; which ones is decided by the sha256 of their content."""
    if most is None or len(examples) <= most:
        return examples
    keys = [hashlib.sha256("\x1f".join(_fields(example)).encode()).digest() for example in examples]
    chosen = sorted(sorted(range(len(examples)), key=keys.__getitem__)[:most])
    return tuple(examples[index] for index in chosen)


def _fields(example: Example) -> tuple[str, ...]:
    return example.first, example.second or "", repr(example.label), example.question or ""


def _field(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name in row and row[name] is None:
        raise InputError(f"{where}: field {name!r} is null")
    if name not in row:
        raise InputError(f"{where}: no field {name!r}; it has {', '.join(row) or 'none'}")
    return row[name]


def _known_label(task: Task, row: Mapping[str, Any], where: str) -> Any:
    """A label out of which the labels of a task are found: -1 is none, unless a recipe names it."""
    value = _field(row, task.label, where)
    if str(value) in ("-1", "-1.0"):
        raise InputError(
            f"{where}: its label is -1, which in published data says that it is hidden; leave such examples out, or name the"
            f" labels with tasks.{task.name}.labels"
        )
    return value


def _example(task: Task, labels: tuple[str, ...] | None, index: int, row: Mapping[str, Any], where: str) -> Example:
    texts = {name: _field(row, name, where) for name in task.columns}
    for name, text in texts.items():
        if not isinstance(text, str) and not (name.endswith("_index") and isinstance(text, int)):
            raise InputError(f"{where}: {name} must be text, not {text!r:.60}")
        check_characters(str(text), f"{where}: {name}")
    try:
        first, second = task.texts(texts) if task.texts else (*texts.values(), None)[:2]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    question = f"{texts['paragraph']}\x1f{texts['question']}" if "em" in task.metrics else None
    label = _label(task, labels, _field(row, task.label, where), where)
    return Example(first, second, label, index, question, passage=texts[task.columns[0]] if task.texts else None)


def _label(task: Task, labels: tuple[str, ...] | None, value: Any, where: str) -> int | float:
    is_own = task.suite == "own"
    if not is_own and value == -1:
        raise InputError(f"{where}: its label is -1, that is hidden; a split without labels cannot be scored")
    if labels is None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{where}: {task.label} must be a number, not {value!r:.60}")
        return float(value)
    if (is_own or isinstance(value, str)) and _label_name(value) in labels:
        return labels.index(_label_name(value))
    if value in range(len(labels)) and (not is_own or _is_number_of_label(task, value)):
        return int(value)
    raise InputError(f"{where}: {task.label} is {value!r:.60}, none of {', '.join(labels)}")


def _is_number_of_label(task: Task, value: Any) -> bool:
    """Whether a file of the user's own may hold numbers for the labels that the recipe names: not where these look like
    numbers themselves, which would leave open what a 1 means."""
    return type(value) is int and bool(task.labels) and not any(name.lstrip("+-").isdigit() for name in task.labels)


def _label_name(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
