"""One model that is fine-tuned: its trials, and the results that they leave."""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lmeff.evaluation.results import model_files_sha256, weights_sha256, write_table
from lmeff.files import sha256_file
from lmeff.formats.result import Kind
from lmeff.logs import is_quiet
from lmeff.measures.finetuning.data import TaskExamples
from lmeff.measures.finetuning.tasks import GROUPS, PREFIX, Task
from lmeff.measures.result_keys import write_measurement
from lmeff.measures.reuse import read_equal, reuse_equal
from lmeff.recipe.sections.finetune import FinetuneSettings

KIND: Kind = "finetuning"
_VERSION = 1
"""Raised whenever the same model, data and settings would give other scores."""


class FinetunedModel:
    """One model and where its results go."""

    def __init__(self, output: Path, folder: Path, limit: int | None) -> None:
        self._output, self._folder, self._limit = output, folder, limit
        self._weights_sha256 = weights_sha256(folder)

    def cut(self, settings: Iterable[FinetuneSettings]) -> str:
        """What to say of a model that takes fewer tokens than the settings allow."""
        from lmeff.measures.finetuning.trial import longest

        shorter = {most for one in settings if (most := longest(self._folder, one)) < one.max_length}
        return f" (texts are cut at {min(shorter)} tokens, the most it takes)" if shorter else ""

    def result(self, data: TaskExamples, settings: FinetuneSettings) -> dict[str, Any]:
        """The result of a task, from disk if it is there."""
        from lmeff.measures.finetuning.outcome import conclude

        decided_by = self._decided_by(data, settings)
        name = data.task.result_name
        path, predictions = self._output / f"{name}.json", f"predictions/{name}.parquet"

        def is_whole(folder: Path, result: dict) -> bool:
            return result.get("predictions_sha256") == sha256_file(folder / predictions)

        if known := reuse_equal(path, decided_by, [predictions], is_whole, lambda: self._remove_means(data.task)):
            return known
        trials = self._trials(data, settings, decided_by)
        outcome = conclude(data, trials, settings.best_by or "score")
        metrics = outcome.metrics
        self._remove_means(data.task)
        write_table(path.parent / predictions, outcome.prediction_table())
        higher = {metric: True for metric in metrics if not metric.endswith("_stderr")}
        count = len(next(iter(data.validation.values())))
        return write_measurement(
            path,
            KIND,
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
            (self._output / f"{PREFIX}{group}.json").unlink(missing_ok=True)

    def _decided_by(self, data: TaskExamples, settings: FinetuneSettings) -> dict[str, Any]:
        from lmeff.measures.finetuning.encoding import count_segments
        from lmeff.measures.finetuning.trial import (
            device_precision,
            has_dropout,
            longest,
            may_pool_elsewhere,
            micro_batch_size,
        )
        from lmeff.models.loading import load_config

        task = data.task
        extra: dict[str, Any] = {"micro_batch_size": micro_batch_size(settings)} if has_dropout(self._folder) else {}
        extra |= {"pooling": "tried"} if may_pool_elsewhere(self._folder) else {}
        extra |= {"segments": number} if (number := count_segments(load_config(self._folder))) > 1 else {}
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

    def _trials(self, data: TaskExamples, settings: FinetuneSettings, decided_by: dict[str, Any]) -> list:
        from lmeff.measures.finetuning.journal import Journal
        from lmeff.measures.finetuning.trial import encode_task, run_trial

        journal = Journal(self._output, data.task.result_name, decided_by)
        wanted = [(rate, seed) for rate in settings.learning_rates for seed in settings.seeds]
        trials = {one: journal.read(*one) for one in wanted}
        missing = [one for one, trial in trials.items() if trial is None]
        encoded = encode_task(self._folder, data, settings) if missing else None
        # disable=None: shown on a terminal, absent from a log file
        for one in tqdm(missing, desc=data.task.name, unit="trial", disable=is_quiet() or None, leave=False):
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
        path, mean = self._output / f"{name}.json", statistics.fmean(scores.values())
        constant = statistics.fmean(result["finetune"]["constant"]["score"] for result in results.values())
        if read_equal(path, decided_by) is None:
            counts = {
                child: count
                for result in results.values()
                for child, count in ((c, n["effective"]) for c, n in result["n-samples"].items())
            }
            left_out = [task for task in GROUPS[name.removeprefix(PREFIX)] if task not in results]
            finetune = {"scores": scores, "constant": {"score": constant}, "left_out": left_out}
            about = {"group_subtasks": {name: list(scores)}, "finetune": finetune}
            device = ", ".join(sorted({result["lmeff"]["device"] for result in results.values()}))
            write_measurement(path, KIND, {name: {"score": mean}}, counts, {"score": True}, decided_by, device, **about)
        return mean, constant
