"""`results/REVISION/finetune_TASK.json`: how a model scores on classification tasks after it was fine-tuned on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.tasks.sources import DATA_VARIABLE
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.finetuning.data import NoTrainingData, TaskExamples, load_task
from lmeff.measures.finetuning.finetuned import KIND, FinetunedModel
from lmeff.measures.finetuning.rows import suite_folder
from lmeff.measures.finetuning.table import FinetuningTable
from lmeff.measures.finetuning.tasks import GROUPS, PREFIX, WantedTasks, find_tasks
from lmeff.measures.measure import Measure, Say
from lmeff.measures.reuse import refuse_fewer_examples, refuse_part_of_run
from lmeff.measures.selection import SelectedModel, where_results_are
from lmeff.recipe import read_recipe
from lmeff.recipe.reading import read_section
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneSettings


@dataclass(frozen=True)
class FinetuneOptions:
    """What `lmeff finetune` is asked for."""

    what: str
    tasks: Sequence[str]
    recipe: Path | None = None
    overrides: Sequence[str] = ()
    data: str | None = None
    output: Path | None = None
    limit: int | None = None

    def check(self) -> None:
        """Raises InputError for a part of the examples whose results would replace those of all."""
        if self.limit:
            refuse_part_of_run("--limit", RunFolder(Path(self.what)).has_revisions, self.output)

    def data_paths(self) -> Mapping[str, str]:
        """Folders of data by name, as a run's recipe has them."""
        recipe = RunFolder(Path(self.what)).recipe_yaml
        return read_recipe(recipe).recipe.evaluation.paths if recipe.is_file() else {}


class Finetuning(Measure):
    """Scores of fine-tuned models, by task. A finished trial of the same weights, data and settings is not done again."""

    kind = KIND
    not_measured = "it was not fine-tuned"

    def __init__(self, options: FinetuneOptions) -> None:
        """Raises InputError for tasks that there are not, and for a recipe that cannot be."""
        self._options = options
        recipe = read_section(FinetuneRecipe, options.recipe, options.overrides)
        self._wanted = find_tasks(options.tasks, recipe)
        self._settings = {name: recipe.settings(name) for name in self._wanted.tasks}
        self._data: dict[str, TaskExamples] = {}

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "Finetuning":
        """On every group of tasks whose data `evaluation.paths` or LMEFF_EVAL_DATA has a folder of. Raises InputError where
        there is none."""
        groups = [group for group in GROUPS if suite_folder(group, section.paths)]
        if not groups:
            raise InputError(
                f"evaluation.measures: finetuning finds no data; name the folder of a suite, such as"
                f" evaluation.paths.leaner_glue, or {DATA_VARIABLE} for a folder that holds leaner_glue/"
            )
        return cls(FinetuneOptions(str(run), groups))

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        limit = self._options.limit
        if limit and self._options.output is None:
            names = [f"{task.result_name}.json" for task in self._wanted.tasks.values()]
            refuse_fewer_examples((model.output / name for model in models for name in names), limit)
        self._data = _load(self._options, self._wanted, self._settings, say)

    def heading(self, models: Sequence[SelectedModel]) -> list[str]:
        return [_description(name, data, self._settings[name]) for name, data in self._data.items()]

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict[str, dict]:
        """The results by task and group. Says each as soon as it is there, since a task may take hours."""
        from lmeff.measures.finetuning.trial import check_model

        if remark := check_model(folder):
            say(f"{model.name}: {remark}")
        finetuned = FinetunedModel(model.output, folder, self._options.limit)
        tasks, groups = [data.task for data in self._data.values()], self._wanted.groups
        table = FinetuningTable(tasks, [PREFIX + group for group in groups])
        say(f"{model.name}{finetuned.cut(self._settings.values())}\n{table.header()}")
        results: dict[str, dict] = {}
        failures: list[str] = []
        for name, data in self._data.items():
            try:
                results[name] = finetuned.result(data, self._settings[name])
                say("\n".join(table.lines(data.task, results[name])))
            except (InputError, RunFailed) as error:
                failures.append(str(error))
            except Exception as error:  # whatever is wrong with one task, the others go on
                failures.append(f"{name}: {type(error).__name__}: {error}")
        for group, names in groups.items():
            there = {name: results[name] for name in names if name in results}
            if there.keys() == {name for name in names if name in self._data}:
                mean, constant = finetuned.write_group(PREFIX + group, there)
                say(table.group(PREFIX + group, mean, constant, len(there)))
        if failures:
            raise RunFailed("; ".join(dict.fromkeys(failures)))  # what is wrong with the model once
        return results

    def closing_lines(self, models: Sequence[SelectedModel]) -> list[str]:
        return [where_results_are([model.output for model in models])]


def _load(
    options: FinetuneOptions, wanted: WantedTasks, settings: Mapping[str, FinetuneSettings], say: Say
) -> dict[str, TaskExamples]:
    """The data of all tasks. Those of a group that have no training data are left out, in one line."""
    paths = options.data_paths()
    loaded: dict[str, TaskExamples] = {}
    missing: list[str] = []
    for name, task in wanted.tasks.items():
        try:
            loaded[name] = load_task(task, settings[name], options.data, paths, options.limit, list(wanted.groups))
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
        say(f"left out, since there are no training data: {', '.join(missing)}")
    for name, data in loaded.items():
        _check_metrics(name, data, settings[name].best_by)
    return loaded


def _check_metrics(name: str, data: TaskExamples, best_by: str | None) -> None:
    """Raises InputError for metrics that the task cannot have."""
    if best_by and best_by not in data.task.metrics:
        raise InputError(f"best_by: {name} has no {best_by!r}; it has {', '.join(data.task.metrics)}")
    if "f1" in data.task.metrics and len(data.labels or ()) != 2:
        raise InputError(f"tasks.{name}: f1 is for two labels, and there are {len(data.labels)}; take f1_macro")


def _description(name: str, data: TaskExamples, settings: FinetuneSettings) -> str:
    part = "" if len(data.train) == data.num_trainable else f" of {data.num_trainable:,}"
    scored = " and ".join(f"{len(examples):,} of {split}" for split, examples in data.validation.items())
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
