"""`results/REVISION/TASK.json`: lm-eval's tasks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.bos_warning import warn_of_bos
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.tasks.checks import check_tasks
from lmeff.formats.result import about_of, scoring_of
from lmeff.measures.measure import Measure, Say
from lmeff.measures.reuse import refuse_fewer_examples, refuse_other_scoring
from lmeff.measures.scores.table import ScoreTable
from lmeff.measures.selection import SelectedModel, where_results_are
from lmeff.recipe.sections.evaluation import Evaluation as EvaluationSection
from lmeff.recipe.sections.evaluation import Scoring

_TYPICAL_NAME = "seed-0-tokens-1250M"
"""Of revisions that are not there yet: how wide their names are."""


class Scores(Measure):
    """Scores on lm-eval's tasks, with minimal pairs and choices among them. A result is one of each task."""

    kind = "scores"

    def __init__(
        self,
        section: EvaluationSection,
        exact: bool = False,
        device: str | None = None,
        keep: bool = True,
    ) -> None:
        """
        Args:
            section: tasks, data and settings. Raises InputError where it names no task.
            keep: refuse to replace results over more examples, or that were scored another way.
        """
        if not section.tasks:
            raise InputError("--tasks: which? For example lmeff_blimp; `lmeff tasks --list` names ours")
        self._section, self._exact, self._device, self._keep = section, exact, device, keep
        self._table = ScoreTable([_TYPICAL_NAME], section.tasks)
        self._has_header = False

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        """Of no models where these are still to come."""
        if self._device is not None:
            from lmeff.models.device import choose_device

            choose_device(self._device)
        section = self._section
        check_tasks(section.tasks, section.include_path, section.paths)
        if self._keep and section.limit:
            refuse_fewer_examples(
                (model.output / f"{task}.json" for model in models for task in section.tasks), section.limit
            )
        if self._keep:
            for model in models:
                if model.model_folder is not None and (results := self._results(model)):
                    refuse_other_scoring(results, _way_of(model.model_folder, self._section.scoring))
        if models:
            self._table = ScoreTable([model.name for model in models], section.tasks)

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict[str, dict]:
        evaluation = evaluation_of(self._section, folder, model.output, exact=self._exact, device=self._device)
        if self._keep:
            refuse_other_scoring(self._results(model), scoring_of(evaluation.way.settings))
        if not evaluation.way.is_pseudo:  # a masked model's texts begin with what its tokenizer has for that
            warn_of_bos(model.name, folder, self._section.context_start)
        for line in scored_again_lines(evaluation):
            say(f"{model.name}: {line}")
        return evaluation.run()

    def _results(self, model: SelectedModel) -> list[Path]:
        """Those that are there of what is asked for."""
        return [path for task in self._section.tasks if (path := model.output / f"{task}.json").is_file()]

    def lines(self, model: SelectedModel, result: dict[str, dict]) -> Iterator[str]:
        if not self._has_header:
            self._has_header = True
            yield self._table.header()
        yield from self._table.lines(model.name, result)

    def closing_lines(self, models: Sequence[SelectedModel]) -> list[str]:
        return [where_results_are([model.output for model in models])]


def _way_of(model_folder: Path, asked: Scoring) -> str | None:
    """How a model would be scored; None where it cannot be, which is told when its turn comes."""
    from lmeff.evaluation.scorer.ways import way_of_folder

    with suppress(Exception):
        return scoring_of(way_of_folder(model_folder, asked).settings)
    return None


def evaluation_of(
    section: EvaluationSection,
    revision: Path,
    output: Path,
    before_batch: Callable[[], None] | None = None,
    exact: bool = False,
    device: str | None = None,
) -> Evaluation:
    """The evaluation of one revision as a recipe's section wants it."""
    return Evaluation(
        model_folder=revision,
        tasks=tuple(section.tasks),
        output=output,
        paths=section.paths,
        include_path=section.include_path,
        limit=section.limit,
        batch_size=section.batch_size,
        precision=section.precision,
        context_start=section.context_start,
        scoring=section.scoring,
        exact=exact,
        device=device,
        before_batch=before_batch,
    )


def scored_again_lines(evaluation: Evaluation) -> Iterator[str]:
    """Why results of the same model that are there are made again, where that is what contexts began with, or how texts were
    scored."""
    start, how = evaluation.context_start, scoring_of(evaluation.settings)
    tasks_by_start: dict[str | None, list[str]] = {}
    tasks_by_scoring: dict[str, list[str]] = {}
    for task in evaluation.tasks:
        about = about_of(evaluation.output / f"{task}.json")
        settings = about.get("settings") or {}
        if about.get("weights_sha256") != evaluation.weights_sha256:
            continue
        if (other := settings.get("context_start")) != start:
            tasks_by_start.setdefault(other, []).append(task)
        if (other_how := scoring_of(settings)) != how:
            tasks_by_scoring.setdefault(other_how, []).append(task)
    if tasks_by_start:
        made = [
            f"{', '.join(tasks)} " + (f"with context_start {one}" if one else "by a version without context_start")
            for one, tasks in tasks_by_start.items()
        ]
        yield f"scored again with context_start {start}; it was scored on {'; '.join(made)}"
    if tasks_by_scoring:
        made = [f"{', '.join(tasks)} with scoring {one}" for one, tasks in tasks_by_scoring.items()]
        yield f"scored again with scoring {how}; it was scored on {'; '.join(made)}"
