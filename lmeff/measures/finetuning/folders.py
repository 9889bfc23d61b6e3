"""`lmeff finetune`: every model that a folder or repository holds, on every task."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.results import copy_result, model_files_sha256, weights_sha256, write_table
from lmeff.files import sha256_file
from lmeff.formats.result import about_of
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.finetuning.data import NoTrainingData, TaskData, load_task
from lmeff.measures.finetuning.table import ScoreTable
from lmeff.measures.finetuning.tasks import GROUPS, PREFIX, Task, Wanted, find_tasks
from lmeff.measures.options import check_part
from lmeff.measures.result_keys import find_measure, read_measure, write_measure
from lmeff.measures.selection import Subject, find_subjects, score_each, where_results_are
from lmeff.recipe import read_recipe
from lmeff.recipe.reading import read_section
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneSettings

_VERSION = 1
"""Raised whenever the same model, data and settings would give other scores."""


@dataclass(frozen=True)
class Request:
    """What `lmeff finetune` was asked for."""

    what: str
    tasks: Sequence[str]
    revisions: Sequence[str] | None = None
    every: bool = False
    """All revisions of a Hub repository."""
    recipe: Path | None = None
    overrides: Sequence[str] = ()
    data: str | None = None
    output: Path | None = None
    limit: int | None = None


def finetune_folders(request: Request) -> list[Subject]:
    """Fine-tunes and scores every model on every task, prints a table for each, and returns the models.

    A finished task of the same weights, data and settings is not computed again. A model for which something fails is
    named and the others go on; RunFailed is raised at the end. Raises InputError before anything is trained.
    """
    recipe = read_section(FinetuneRecipe, request.recipe, request.overrides)
    wanted = find_tasks(request.tasks, recipe)
    if request.limit:
        check_part("--limit", RunFolder(Path(request.what)).has_revisions, request.output)
    subjects = find_subjects(request.what, request.revisions, request.every, request.output)
    if request.limit and request.output is None:
        _check_limit(request.limit, subjects, wanted)
    settings = {name: recipe.settings(name) for name in wanted.tasks}
    loaded = _load(request, wanted, settings)

    table = ScoreTable([data.task for data in loaded.values()], [PREFIX + group for group in wanted.groups])
    for name, data in loaded.items():
        print(_describe(name, data, settings[name]), flush=True)

    def score(subject: Subject, model_folder: Path) -> None:
        from lmeff.measures.finetuning.trial import check_model

        if remark := check_model(model_folder):
            print(f"{subject.name}: {remark}", flush=True)
        model = _Model(subject, model_folder, request.limit)
        print(f"{subject.name}{model.cut(settings.values())}\n{table.header()}", flush=True)
        results, failures = {}, []
        for name, data in loaded.items():
            try:
                results[name] = model.result(data, settings[name])
                print("\n".join(table.lines(data.task, results[name])), flush=True)
            except (InputError, RunFailed) as error:
                failures.append(str(error))
            except Exception as error:  # whatever is wrong with one task, the others go on
                failures.append(f"{name}: {type(error).__name__}: {error}")
        for group, names in wanted.groups.items():
            there = {name: results[name] for name in names if name in results}
            if there.keys() == {name for name in names if name in loaded}:
                mean, constant = model.write_group(PREFIX + group, there)
                print(table.group(PREFIX + group, mean, constant, len(there)), flush=True)
        if failures:
            raise RunFailed("; ".join(dict.fromkeys(failures)))  # what is wrong with the model once

    score_each(subjects, score)
    print(where_results_are([subject.output for subject in subjects]), flush=True)
    return subjects


def _check_limit(limit: int, subjects: Iterable[Subject], wanted: Wanted) -> None:
    """Raises InputError where results of more examples are, which those of a part would replace."""
    for path in (subject.output / f"{task.result_name}.json" for subject in subjects for task in wanted.tasks.values()):
        about = about_of(path)
        known = about.get("settings", {}).get("limit")
        if about and (known is None or known > limit):
            raise InputError(
                f"--limit: {path} holds the result of {f'{known:,}' if known else 'all'} examples, which that of a part"
                " would replace; give this one a folder with --output DIR"
            )


def _load(request: Request, wanted: Wanted, settings: Mapping[str, FinetuneSettings]) -> dict[str, TaskData]:
    """The data of all tasks. Those of a group that have no training data are left out, in one line."""
    recipe = RunFolder(Path(request.what)).recipe_yaml
    paths = read_recipe(recipe).recipe.evaluation.paths if recipe.is_file() else {}
    loaded, missing = {}, []
    for name, task in wanted.tasks.items():
        try:
            loaded[name] = load_task(task, settings[name], request.data, paths, request.limit, list(wanted.groups))
        except NoTrainingData as error:
            if name in wanted.named:
                raise InputError(
                    f"{error}; to train on another split: tasks.{name}.train_split=validation"
                    f" tasks.{name}.validation_split=test, where there are such files"
                ) from None
            missing.append(name)
    if not loaded:
        raise InputError(f"--tasks: none of {', '.join(missing)} has training data there")
    if missing:
        print(f"left out, since there are no training data: {', '.join(missing)}", flush=True)
    for name, data in loaded.items():
        best_by = settings[name].best_by
        if best_by and best_by not in data.task.metrics:
            raise InputError(f"best_by: {name} has no {best_by!r}; it has {', '.join(data.task.metrics)}")
        binary = [metric for metric in data.task.metrics if metric == "f1" and len(data.labels or ()) != 2]
        if binary:
            raise InputError(f"tasks.{name}: f1 is for two labels, and there are {len(data.labels)}; take f1_macro")
    return loaded


def _describe(name: str, data: TaskData, settings: FinetuneSettings) -> str:
    part = "" if len(data.train) == data.num_trainable else f" of {data.num_trainable:,}"
    scored = " and ".join(f"{len(found):,} of {split}" for split, found in data.validation.items())
    amounts = (
        (len(settings.learning_rates), "learning rate"),
        (len(settings.seeds), "seed"),
        (settings.epochs, "epoch"),
    )
    trials = " x ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in amounts)
    return (
        f"{name}: {len(data.train):,}{part} examples to train on, {len(data.dev):,} to choose by, {scored} to score;"
        f" {trials}; {data.source}"
    )


class _Model:
    """One model and where its results go."""

    def __init__(self, subject: Subject, folder: Path, limit: int | None) -> None:
        self._subject, self._folder, self._limit = subject, folder, limit
        self._weights_sha256 = weights_sha256(folder)

    def cut(self, settings: Iterable[FinetuneSettings]) -> str:
        """What to say of a model that takes fewer tokens than the settings allow."""
        from lmeff.measures.finetuning.trial import longest

        shorter = {most for one in settings if (most := longest(self._folder, one)) < one.max_length}
        return f" (texts are cut at {min(shorter)} tokens, the most it takes)" if shorter else ""

    def result(self, data: TaskData, settings: FinetuneSettings) -> dict[str, Any]:
        """The result of a task, from disk if it is there."""
        from lmeff.measures.finetuning.outcome import conclude

        decided_by = self._decided_by(data, settings)
        name = data.task.result_name
        path, predictions = self._subject.output / f"{name}.json", f"predictions/{name}.parquet"

        def is_whole(folder: Path, result: dict) -> bool:
            return result.get("predictions_sha256") == sha256_file(folder / predictions)

        if found := find_measure(path, decided_by, [predictions], is_whole):
            folder, result = found
            if folder != path.parent:
                self._remove_means(data.task)
                copy_result(path, folder, [predictions])
            return result
        trials = self._trials(data, settings, decided_by)
        outcome = conclude(data, trials, settings.best_by or "score")
        metrics = outcome.metrics
        self._remove_means(data.task)
        write_table(path.parent / predictions, outcome.prediction_table())
        higher = {metric: True for metric in metrics if not metric.endswith("_stderr")}
        count = len(next(iter(data.validation.values())))
        return write_measure(
            path,
            {name: metrics},
            {name: count},
            higher,
            decided_by,
            outcome.device,
            finetune=outcome.describe(),
            predictions_sha256=sha256_file(path.parent / predictions),
        )

    def _remove_means(self, task: Task) -> None:
        """Removes the results of groups, whose mean is of another result of the task."""
        for group in (group for group, names in GROUPS.items() if task.name in names):
            (self._subject.output / f"{PREFIX}{group}.json").unlink(missing_ok=True)

    def _decided_by(self, data: TaskData, settings: FinetuneSettings) -> dict[str, Any]:
        from lmeff.measures.finetuning.trial import (
            device_precision,
            has_dropout,
            longest,
            may_pool_elsewhere,
            micro_batch_size,
        )

        task = data.task
        extra = {"micro_batch_size": micro_batch_size(settings)} if has_dropout(self._folder) else {}
        extra |= {"pooling": "tried"} if may_pool_elsewhere(self._folder) else {}
        return {
            "weights_sha256": self._weights_sha256,
            "data_sha256": data.sha256,
            "settings": {
                "version": _VERSION,
                **settings.model_dump(exclude={"batch_size", "micro_batch_size"}),
                "train_batch_size": settings.batch_size,  # `batch_size` of other results decides no score
                **extra,
                "precision": device_precision(settings),
                "max_length": longest(self._folder, settings),
                "limit": self._limit,
                "labels": data.labels and list(data.labels),
                "metrics": list(task.metrics),
                "main_metrics": list(task.main),
                "splits": [task.train, *task.validation],
                "model_files_sha256": model_files_sha256(self._folder),
            },
        }

    def _trials(self, data: TaskData, settings: FinetuneSettings, decided_by: dict[str, Any]) -> list:
        from lmeff.measures.finetuning.journal import Journal
        from lmeff.measures.finetuning.trial import encode_task, run_trial

        journal = Journal(self._subject.output, data.task.result_name, decided_by)
        wanted = [(rate, seed) for rate in settings.learning_rates for seed in settings.seeds]
        trials = {one: journal.read(*one) for one in wanted}
        missing = [one for one, trial in trials.items() if trial is None]
        encoded = encode_task(self._folder, data, settings) if missing else None
        # disable=None: shown on a terminal, absent from a log file
        for one in tqdm(missing, desc=data.task.name, unit="trial", disable=None, leave=False):
            trials[one] = run_trial(self._folder, encoded, settings, *one)
            journal.write(trials[one])
        return list(trials.values())

    def write_group(self, name: str, results: Mapping[str, dict[str, Any]]) -> tuple[float, float]:
        """Writes the unweighted mean of the tasks' scores, and returns it and that of their constant predictors."""
        scores = {PREFIX + task: result["results"][PREFIX + task]["score,none"] for task, result in results.items()}
        decided_by = {
            "weights_sha256": self._weights_sha256,
            "data_sha256": {PREFIX + task: result["lmeff"]["data_sha256"] for task, result in results.items()},
            "settings": {PREFIX + task: result["lmeff"]["settings"] for task, result in results.items()},
        }
        path, mean = self._subject.output / f"{name}.json", statistics.fmean(scores.values())
        constant = statistics.fmean(result["finetune"]["constant"]["score"] for result in results.values())
        if read_measure(path, decided_by) is None:
            counts = {
                child: count
                for result in results.values()
                for child, count in ((c, n["effective"]) for c, n in result["n-samples"].items())
            }
            left_out = [task for task in GROUPS[name.removeprefix(PREFIX)] if task not in results]
            finetune = {"scores": scores, "constant": {"score": constant}, "left_out": left_out}
            about = {"group_subtasks": {name: list(scores)}, "finetune": finetune}
            device = ", ".join(sorted({result["lmeff"]["device"] for result in results.values()}))
            write_measure(path, {name: {"score": mean}}, counts, {"score": True}, decided_by, device, **about)
        return mean, constant
