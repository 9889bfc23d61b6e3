"""The tasks a model can be fine-tuned on: where their data are, what they ask, how they are scored.

GLUE (Wang et al. 2019a), four tasks of SuperGLUE (Wang et al. 2019b) that are classification of texts, and GLUE in
simplified English (TinyHelen, Yang et al. 2024), whose tasks are named `leaner_...` since they are other data.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lmeff.errors import InputError
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneTask
from lmeff.recipe.wording import did_you_mean

Texts = tuple[str, str | None]
"""The one text of an example, or both."""

PREFIX = "finetune_"
"""Of the names of results."""


@dataclass(frozen=True)
class Task:
    """What an example of a task is and how answers are scored."""

    name: str
    suite: str
    """`glue`, `superglue`, `leaner_glue`, or `own` for files of the user."""
    columns: tuple[str, ...]
    """Fields an example needs besides its label."""
    labels: tuple[str, ...] | None
    """Names of the labels by number; None for regression, empty when the training examples decide."""
    metrics: tuple[str, ...]
    main: tuple[str, ...]
    """The metrics whose mean is the task's score, as GLUE and SuperGLUE define it."""
    texts: Callable[[Mapping[str, str]], Texts] | None = None
    """Makes the texts of an example; None: the columns as they are."""
    label: str = "label"
    train: str = "train"
    validation: tuple[str, ...] = ("validation",)
    """Splits to score. Metrics of a second one are named after it, such as `acc_mismatched`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Split to file, for files of the user."""

    @property
    def result_name(self) -> str:
        return PREFIX + self.name

    @property
    def is_regression(self) -> bool:
        return self.labels is None

    @property
    def file_stem(self) -> str:
        """How the files of a local folder begin."""
        return self.name.removeprefix("leaner_")


def _multirc_texts(row: Mapping[str, str]) -> Texts:
    return row["paragraph"], f"{row['question']} {row['answer']}"


def _wsc_texts(row: Mapping[str, str]) -> Texts:
    """The text with the pronoun in asterisks (as Raffel et al. 2020 mark it), and the words it may stand for.

    Without a mark a text with several pronouns would have one and the same input for different questions.
    """
    words, pronoun = row["text"].split(), row["span2_text"].split()
    size, stated = len(pronoun), int(row["span2_index"])

    def is_pronoun(first: int) -> bool:
        return [_bare(word) for word in words[first : first + size]] == [_bare(word) for word in pronoun]

    # Some published indices are a word or two off.
    starts = sorted(filter(is_pronoun, range(len(words))), key=lambda first: abs(first - stated))
    if not starts:
        raise ValueError(f"its text does not hold the word {row['span2_text']!r}")
    first, last = starts[0], starts[0] + size
    marked = [*words[:first], f"*{' '.join(words[first:last])}*", *words[last:]]
    return " ".join(marked), row["span1_text"]


def _bare(word: str) -> str:
    return word.strip(string.punctuation).lower()


_PAIR = ("sentence1", "sentence2")
_NO_YES = ("not_entailment", "entailment")
_ENTAILMENT = ("entailment", "not_entailment")

_GLUE = [
    Task("cola", "glue", ("sentence",), ("unacceptable", "acceptable"), ("mcc", "acc", "f1"), ("mcc",)),
    Task("sst2", "glue", ("sentence",), ("negative", "positive"), ("acc", "f1", "mcc"), ("acc",)),
    Task("mrpc", "glue", _PAIR, ("not_equivalent", "equivalent"), ("acc", "f1", "mcc"), ("acc", "f1")),
    Task(
        "qqp", "glue", ("question1", "question2"), ("not_duplicate", "duplicate"), ("acc", "f1", "mcc"), ("acc", "f1")
    ),
    Task("stsb", "glue", _PAIR, None, ("pearson", "spearman"), ("pearson", "spearman")),
    Task(
        "mnli",
        "glue",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("acc", "f1_macro"),
        ("acc",),
        validation=("validation_matched", "validation_mismatched"),
    ),
    Task("qnli", "glue", ("question", "sentence"), _ENTAILMENT, ("acc", "f1", "mcc"), ("acc",)),
    Task("rte", "glue", _PAIR, _ENTAILMENT, ("acc", "f1", "mcc"), ("acc",)),
    Task("wnli", "glue", _PAIR, _NO_YES, ("acc", "f1", "mcc"), ("acc",)),
]
_SUPERGLUE = [
    Task("boolq", "superglue", ("passage", "question"), ("False", "True"), ("acc", "f1", "mcc"), ("acc",)),
    Task(
        "multirc",
        "superglue",
        ("paragraph", "question", "answer"),
        ("False", "True"),
        ("f1a", "em", "acc", "mcc"),
        ("f1a", "em"),
        _multirc_texts,
    ),
    Task(
        "wsc",
        "superglue",
        ("text", "span1_text", "span2_text", "span2_index"),
        ("False", "True"),
        ("acc", "f1", "mcc"),
        ("acc",),
        _wsc_texts,
    ),
]
_LEANER = [replace(task, name=f"leaner_{task.name}", suite="leaner_glue") for task in _GLUE]

TASKS = {task.name: task for task in (*_GLUE, *_SUPERGLUE, *_LEANER)}
GROUPS = {
    # WNLI is left out as in nearly all papers: its validation split was made to defeat what its training split teaches.
    "glue": ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte"),
    "superglue": ("boolq", "multirc", "rte", "wsc"),
    "babylm": ("boolq", "mnli", "mrpc", "multirc", "qqp", "rte", "wsc"),
    "leaner_glue": tuple(task.name for task in _LEANER),
}
"""The score of a group is the unweighted mean of its tasks' scores."""

HUB = {"glue": "nyu-mll/glue", "superglue": "aps/super_glue"}
HUB_CONFIGS = {"wsc": "wsc.fixed"}
"""Where a task has another name on the Hub."""


def suites_with(task: Task, first: Sequence[str] = ()) -> list[str]:
    """Suites whose folders may hold the files of a task: those of `first`, its own, then any other group with it."""
    groups = [name for name, names in GROUPS.items() if task.name in names]
    return list(dict.fromkeys([*(name for name in first if name in groups), task.suite, *groups]))


@dataclass(frozen=True)
class WantedTasks:
    """What `--tasks` asks for."""

    tasks: dict[str, Task]
    groups: dict[str, tuple[str, ...]]
    """Groups that were named, and their tasks."""
    named: frozenset[str]
    """Tasks that were named themselves, which must not be skipped."""


def find_tasks(names: Sequence[str], recipe: FinetuneRecipe) -> WantedTasks:
    """The tasks and groups called by these names; tasks of the user's own come from the recipe. Raises InputError."""
    own = {name: _own_task(name, said) for name, said in recipe.tasks.items() if said.files}
    known = {**TASKS, **own}
    taken = sorted((set(TASKS) | set(GROUPS)) & set(own))
    mistakes = [f"tasks.{name}: the name of a task that is known already; give yours another" for name in taken]
    mistakes += [
        f"tasks.{name}: no such task, and no 'files' for one of your own{did_you_mean(name, TASKS)}"
        for name in recipe.tasks
        if name not in known
    ]
    choices = [*GROUPS, *known]
    mistakes += [
        f"--tasks: no task {name!r}{did_you_mean(name, choices) or '; there are ' + ', '.join(choices)}"
        for name in names
        if name not in choices
    ]
    if mistakes:
        raise InputError(*mistakes)
    groups = {name: GROUPS[name] for name in names if name in GROUPS}
    order = dict.fromkeys(task for name in names for task in GROUPS.get(name, (name,)))
    tasks = {name: _with_splits(known[name], recipe.tasks.get(name)) for name in order}
    return WantedTasks(tasks, groups, frozenset(names) - set(groups))


def _own_task(name: str, said: FinetuneTask) -> Task:
    metrics = tuple(said.metrics or (("pearson", "spearman") if said.regression else ("acc",)))
    labels = None if said.regression else tuple(said.labels or ())
    files = {"train": said.files.train, "validation": said.files.validation}
    return Task(name, "own", tuple(said.columns), labels, metrics, metrics[:1], label=said.label, files=files)


def _with_splits(task: Task, said: FinetuneTask | None) -> Task:
    if said and said.train_split:
        task = replace(task, train=said.train_split)
    if said and said.validation_split:
        task = replace(task, validation=(said.validation_split,))
    if task.train in task.validation:
        raise InputError(f"tasks.{task.name}: {task.train!r} is both trained on and scored; name two splits")
    return task
