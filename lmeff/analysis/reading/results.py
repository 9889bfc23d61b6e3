"""What was measured on one revision: lm-eval's result files, and the score of every minimal pair."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lmeff.errors import InputError
from lmeff.formats.result import Kind, kind_of, read_result, scoring_of


@dataclass(frozen=True)
class Score:
    value: float
    stderr: float | None
    """Standard error as lm-eval gives it; None where it gives none."""


@dataclass(frozen=True)
class TaskResult:
    metrics: dict[str, Score]
    """By metric, such as `acc`; a metric behind a filter other than `none` keeps lm-eval's `metric,filter`."""
    num_examples: int | None
    about: dict = field(default_factory=dict)
    """What the result depends on: `weights_sha256`, `data_sha256`, `settings`. Empty for results that others made."""

    num_tokens: int | None = None
    """Into so many tokens the model's tokenizer cut the text; None where that does not matter."""
    num_items: int | None = None
    """From so many items the examples were made, where several were made from one: only they are independent samples."""
    context_start: str | None = None
    """What contexts began with: `bos` or `tokenizer`; None where the result does not say it."""
    kind: Kind = "choices"
    """What was measured."""
    scoring: str | None = None
    """How texts were scored, as `scoring_of` says it; None where nothing was scored or the result does not say it."""
    directions: dict[str, bool] = field(default_factory=dict)
    """By metric, without its filter: whether higher is better, where lm-eval or the measure says so."""

    def higher_is_better(self, metric: str) -> bool | None:
        """None where the result does not say it."""
        return self.directions.get(metric.partition(",")[0])

    @property
    def num_samples(self) -> int | None:
        """How many independent samples its intervals are over: items, or else examples."""
        return self.num_examples if self.num_items is None else self.num_items

    @property
    def num_ties(self) -> int | None:
        """How many of its pairs are ties, where its file counts those of this task and of no other."""
        return self.about.get("num_ties") if self.about.get("num_pairs") == self.num_examples else None

    @property
    def is_older(self) -> bool:
        """Whether an older version scored it, which does not say what contexts began with."""
        return self.context_start is None and "task_files_sha256" in (self.about.get("settings") or {})

    @property
    def limit(self) -> int | None:
        """Only so many examples of each task were scored; None: all."""
        return min((settings["limit"] for settings in self._settings if settings.get("limit")), default=None)

    @property
    def is_adaptive(self) -> bool:
        """Whether choices were left to bfloat16 that its error cannot change."""
        return any(settings.get("precision") == "adaptive" for settings in self._settings)

    @property
    def _settings(self) -> list[dict]:
        """Its settings and, of a group of fine-tuned tasks, those of each."""
        own = self.about.get("settings") or {}
        return [own, *(inner for inner in own.values() if isinstance(inner, dict))]


@dataclass(frozen=True)
class Results:
    """All tasks of one revision."""

    tasks: dict[str, TaskResult] = field(default_factory=dict)
    subtasks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups and what is directly below each."""
    weights: dict[str, float] = field(default_factory=dict)
    """Measures of the weights by name, such as `norm_mlp`: they are no scores."""

    def joined_with(self, other: "Results") -> "Results":
        """Both together. For a task in both, the result over more examples counts, and of two equal ones ours."""
        tasks = dict(self.tasks)
        for task, result in other.tasks.items():
            if task not in tasks or (result.num_examples or 0) > (tasks[task].num_examples or 0):
                tasks[task] = result
        return Results(tasks, {**other.subtasks, **self.subtasks}, {**other.weights, **self.weights})


def read_results(folder: Path) -> Results:
    """`results/REVISION/*.json` in lm-eval's layout; empty when there is no such folder. Raises InputError."""
    return read_result_files(path for path in sorted(folder.glob("*.json")) if not path.name.startswith("."))


def read_result_files(paths: Iterable[Path]) -> Results:
    """Files in lm-eval's layout. Raises InputError."""
    together = Results()
    for path in paths:
        together = together.joined_with(_parse_results(read_result(path), path))
    return together


def _parse_results(content: dict, path: Path) -> Results:
    subtasks = {group: tuple(below) for group, below in (content.get("group_subtasks") or {}).items() if below}
    kind = kind_of(content)
    if kind == "weights":
        all_metrics = [_parse_metrics(values, str(path)) for values in content["results"].values()]
        return Results(weights={name: score.value for metrics in all_metrics for name, score in metrics.items()})
    counts = {task: count.get("effective") for task, count in content["n-samples"].items()}

    about = content.get("lmeff") or {}
    items = about.get("num_items_of") or {}
    # Files that lm-eval's own command line wrote have it where the model says what it is.
    said = about.get("settings") or content.get("config") or {}
    tells = kind in ("pairs", "choices") and (about.get("settings") or said.get("scoring") or said.get("context_start"))
    scoring = scoring_of(said) if tells else None

    def total(task: str, counts: dict) -> int | None:
        if task not in subtasks:
            return counts.get(task)
        below = [total(child, counts) for child in subtasks[task]]
        known = [number for number in below if number is not None]
        return sum(known) if len(known) == len(below) else None

    tasks = {}
    for task, values in {**content["results"], **(content.get("groups") or {})}.items():
        metrics = _parse_metrics(values, f"{path}: {task}")
        if metrics:
            num_tokens = ((content.get("counts") or {}).get(task) or {}).get("num_tokens")
            num_items = total(task, items) if items else None
            told = content["higher_is_better"].get(task) or {}
            tasks[task] = TaskResult(
                metrics,
                total(task, counts),
                about,
                num_tokens,
                num_items,
                said.get("context_start"),
                kind,
                scoring,
                {metric: better for metric, better in told.items() if isinstance(better, bool)},
            )
    return Results(tasks, subtasks)


def _parse_metrics(values: dict, where: str) -> dict[str, Score]:
    metrics = {}
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr") or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            raise InputError(f"{where}: {metric} is {value}, which is no score; evaluate this revision again")
        stderr = values.get(f"{metric}_stderr,{filtered}")  # a number, or "N/A"
        error = float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None
        metrics[metric if filtered == "none" else key] = Score(float(value), error)
    return metrics


@dataclass(frozen=True)
class WrittenText:
    """What a revision wrote after a prompt."""

    prompt: str
    sample: int | None
    """None: the most probable token each time."""
    text: str
    finished: str
    """`eos` when the model ended it; `length` or `context` when it was cut."""


def read_texts(path: Path) -> tuple[WrittenText, ...]:
    """The texts of a `generations.jsonl`. Raises InputError naming the file when it is damaged."""
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return tuple(WrittenText(*(one[key] for key in ("prompt", "sample", "text", "finished"))) for one in records)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable as generated texts ({' '.join(str(error).split())})") from None


def pair_files(folder: Path) -> tuple[Path, ...]:
    """`pairs/*.parquet` of a result folder."""
    return tuple(path for path in sorted(folder.glob("pairs/*.parquet")) if not path.name.startswith("."))
