"""`lmeff eval`: which models a folder holds, and scoring them one after another."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer.context_start import warn_of_bos
from lmeff.evaluation.tasks.checks import check_tasks
from lmeff.files import read_json
from lmeff.formats.result import about_of
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.options import check_eval
from lmeff.measures.scores.following import follow_run
from lmeff.measures.scores.table import ScoreTable
from lmeff.measures.selection import Subject, find_subjects, score_each, where_results_are
from lmeff.measures.weights.measure import measure_at_anchor
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.evaluation import Evaluation as EvaluationSection


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
        exact=exact,
        device=device,
        before_batch=before_batch,
    )


def evaluate_together(
    section: EvaluationSection,
    results: Path,
    ranks: tuple[int, int],
    before_batch: Callable[[], None],
) -> Callable[[Path], None]:
    """Returns what scores a revision into `results/NAME`. Collective: every process of a run calls it. `ranks` are the rank
    and the number of processes. When `before_batch` raises KeyboardInterrupt, what is missing is left to the next call."""
    from accelerate import PartialState

    rank, world_size = ranks

    def evaluate(revision: Path) -> None:
        evaluation = evaluation_of(section, revision, results / revision.name, before_batch)
        with suppress(KeyboardInterrupt):
            if section.weights and rank == 0:
                measure_at_anchor(revision, results, before_batch)
            evaluation.score(rank, world_size)
        PartialState().wait_for_everyone()
        if rank == 0 and evaluation.is_scored():
            evaluation.finish()

    return evaluate


def evaluate_folders(
    what: str,
    tasks: Sequence[str] | None,
    revisions: Sequence[str] | None,
    changes: Mapping[str, Any],
    output: Path | None,
    every: bool = False,
    exact: bool = False,
    follow: bool = False,
    device: str | None = None,
) -> list[Subject]:
    """Scores every model and prints a line for each. What a run's recipe says about tasks and data holds unless `tasks` or
    `changes` to its section say otherwise, whose `paths` are added to the recipe's. Returns what was scored.

    With `follow`, goes on with revisions that a run saves meanwhile, until it has ended. A model that cannot be scored is
    named and the others go on; RunFailed is raised at the end.
    """
    recipe = RunFolder(Path(what)).recipe_yaml
    section = read_recipe(recipe).recipe.evaluation if recipe.is_file() else EvaluationSection()
    check_eval(what, section, changes, output, exact, follow)
    subjects = [] if follow else find_subjects(what, revisions, every, output)
    if device is not None:
        from lmeff.models.device import choose_device

        choose_device(device)
    paths = {**section.paths, **changes.get("paths", {})}
    section = section.model_copy(update={"tasks": list(tasks or section.tasks), **changes, "paths": paths})
    if not section.tasks:
        raise InputError("--tasks: which? For example lmeff_blimp; `lmeff tasks --list` names ours")
    check_tasks(section.tasks, section.include_path, section.paths)
    if output is None and section.limit:
        _keep_fuller_results(subjects, section)

    names = [subject.name for subject in subjects] or ["seed-0-tokens-1250M"]  # those to follow are not there yet
    table = ScoreTable(names, section.tasks)
    scored: list[Path] = []

    def score(subject: Subject, model_folder: Path) -> None:
        warn_of_bos(subject.name, model_folder, section.context_start)
        evaluation = evaluation_of(section, model_folder, subject.output, exact=exact, device=device)
        if line := other_start_line(evaluation):
            print(f"{subject.name}: {line}", flush=True)
        found = evaluation.run()
        if not scored:
            print(table.header(), flush=True)
        scored.append(subject.output)
        print("\n".join(table.lines(subject.name, found)), flush=True)

    try:
        if follow:
            return follow_run(Path(what), partial(find_subjects, what, None, True, output), score, revisions)
        score_each(subjects, score)
    finally:
        if scored:
            print(where_results_are(scored), flush=True)
    return subjects


def _keep_fuller_results(subjects: Sequence[Subject], section: EvaluationSection) -> None:
    """Raises InputError where results over all examples, or over more of them, would be replaced."""
    for path in (subject.output / f"{task}.json" for subject in subjects for task in section.tasks):
        try:
            limit = read_json(path)["lmeff"]["settings"]["limit"]
        except (InputError, KeyError, TypeError):
            continue
        if limit is None or limit > section.limit:
            over = "all examples" if limit is None else f"{limit:,} examples of each task"
            raise InputError(
                f"--limit: {path} is the result over {over}; give another one its own folder with --output DIR"
            )


def other_start_line(evaluation: Evaluation) -> str | None:
    """Why results of the same model that are there are made again, where that is what contexts began with."""
    found: dict[str | None, list[str]] = {}
    for task in evaluation.tasks:
        about = about_of(evaluation.output / f"{task}.json")
        start = (about.get("settings") or {}).get("context_start")
        if about.get("weights_sha256") == evaluation.weights_sha256 and start != evaluation.context_start:
            found.setdefault(start, []).append(task)
    if not found:
        return None
    made = [
        f"{', '.join(tasks)} " + (f"with context_start {start}" if start else "by a version without context_start")
        for start, tasks in found.items()
    ]
    return f"scored again with context_start {evaluation.context_start}; it was scored on {'; '.join(made)}"
