"""From the trials of a task to its result: what was chosen on the dev split, and how that scores on the validation split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lmeff.errors import RunFailed
from lmeff.measures.finetuning.data import Example, TaskExamples
from lmeff.measures.finetuning.metrics import accuracy_stderr, constant_answer, predictions, score
from lmeff.measures.finetuning.tasks import Task
from lmeff.measures.finetuning.trial import Trial

HOW = (
    "Learning rate and epoch were chosen on a dev split made from the training examples. The validation split was scored once,"
    " with what was chosen; its labels decided nothing."
)

PREDICTION_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("seed", pa.int64()),
        ("example", pa.int32()),
        ("label", pa.float64()),
        ("prediction", pa.float64()),
        ("outputs", pa.list_(pa.float32())),
    ]
)
"""One row a seed and example: its index in the published split, the right and the predicted label (or number), and the
logits (or the number)."""


@dataclass(frozen=True)
class Outcome:
    """How a model did on a task."""

    data: TaskExamples
    trials: tuple[Trial, ...]
    """All of them."""
    learning_rate: float
    """The one that was chosen."""
    chosen: tuple[Trial, ...]
    """The trials with this learning rate, one a seed."""
    by_seed: dict[int, dict[str, float]]
    """Metrics on the validation split."""
    constant: dict[str, float]
    """Metrics of a predictor that always gives the answer most frequent among all training examples, those left out by
    `max_train_examples` too."""

    @property
    def metrics(self) -> dict[str, float]:
        """Means over seeds; `acc_stderr` is over examples."""
        values = {name: float(np.mean([scores[name] for scores in self.by_seed.values()])) for name in self.constant}
        main = next(iter(self.data.validation))
        if "acc" in values:
            stderr = accuracy_stderr(_predicted(self, main), self.data.validation[main])
            values |= {} if stderr is None else {"acc_stderr": stderr}
        return values

    @property
    def std(self) -> dict[str, float] | None:
        """Standard deviations over seeds (n - 1); None with one seed."""
        if len(self.by_seed) < 2:
            return None
        return {
            name: float(np.std([scores[name] for scores in self.by_seed.values()], ddof=1)) for name in self.constant
        }

    @property
    def device(self) -> str:
        """That of the trials; `A, B` where some were made on another one."""
        return ", ".join(sorted({trial.device for trial in self.trials}))

    def describe(self) -> dict[str, Any]:
        """What a result says beside its metrics."""
        answer = constant_answer(self.data.task, self.data.offered_labels)
        return {
            "how": HOW,
            "classifier": self.chosen[0].classifier,
            "data": self.data.origin,
            "num_examples": {
                "offered_for_training": self.data.num_offered,
                "train": len(self.data.train),
                "dev": len(self.data.dev),
                "scored": {split: len(examples) for split, examples in self.data.validation.items()},
            },
            "learning_rate": self.learning_rate,
            "best_epochs": {str(trial.seed): trial.best_epoch for trial in self.chosen},
            "seeds": {str(seed): scores for seed, scores in self.by_seed.items()},
            "std": self.std,
            "constant": {"answer": self.data.labels[answer] if self.data.labels else answer, **self.constant},
            "trials": [
                {name: getattr(trial, name) for name in ("learning_rate", "seed", "best_epoch", "dev")}
                for trial in self.trials
            ],
        }

    def prediction_table(self) -> pa.Table:
        """`PREDICTION_SCHEMA` rows."""
        columns: dict[str, list] = {name: [] for name in PREDICTION_SCHEMA.names}
        for split, examples in self.data.validation.items():
            for trial, predicted in zip(self.chosen, _predicted(self, split), strict=True):
                columns["split"] += [split] * len(examples)
                columns["seed"] += [trial.seed] * len(examples)
                columns["example"] += [example.index for example in examples]
                columns["label"] += [float(example.label) for example in examples]
                columns["prediction"] += [float(value) for value in predicted]
                columns["outputs"] += trial.outputs[split]
        return pa.table(columns, schema=PREDICTION_SCHEMA)


def conclude(data: TaskExamples, trials: Sequence[Trial], best_by: str) -> Outcome:
    """Chooses the learning rate with the best mean over seeds of `best_by` on the dev split (of equal ones the first), and
    scores its trials on the validation splits. A learning rate with which a seed diverged is not chosen.

    Raises RunFailed when all diverged.
    """
    by_rate: dict[float, list[Trial]] = {}
    for trial in trials:
        by_rate.setdefault(trial.learning_rate, []).append(trial)
    sound = {
        rate: trials_of_rate
        for rate, trials_of_rate in by_rate.items()
        if all(trial.best_epoch for trial in trials_of_rate)
    }
    if not sound:
        raise RunFailed(f"{data.task.name}: the model diverged with every learning rate; try lower ones")
    rate = max(sound, key=lambda rate: np.mean([trial.dev[trial.best_epoch - 1][best_by] for trial in sound[rate]]))
    answer = constant_answer(data.task, data.offered_labels)
    return Outcome(
        data,
        tuple(trials),
        rate,
        tuple(sound[rate]),
        {trial.seed: _all_splits(data, trial.outputs) for trial in sound[rate]},
        _named(data.task, ((split, [answer] * len(examples), examples) for split, examples in data.validation.items())),
    )


def _all_splits(data: TaskExamples, outputs: dict[str, list[list[float]]]) -> dict[str, float]:
    answers = (
        (split, predictions(data.task, np.asarray(outputs[split])), examples)
        for split, examples in data.validation.items()
    )
    return _named(data.task, answers)


def _named(task: Task, answers: Iterable[tuple[str, Sequence[float], Sequence[Example]]]) -> dict[str, float]:
    """Metrics of all splits; those of a second one with its name behind, such as `acc_mismatched`."""
    values: dict[str, float] = {}
    for number, (split, predicted, examples) in enumerate(answers):
        behind = f"_{split.removeprefix('validation_')}" if number else ""
        scores = score(task, predicted, examples)
        values |= {f"{metric}{behind}": scores[metric] for metric in (task.metrics if number else scores)}
    return values


def _predicted(outcome: Outcome, split: str) -> list[np.ndarray]:
    return [predictions(outcome.data.task, np.asarray(trial.outputs[split])) for trial in outcome.chosen]
