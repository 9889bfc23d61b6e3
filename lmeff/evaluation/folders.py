"""`lmeff eval`: which models a folder holds, and scoring them one after another."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.beginnings import bos_warning
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.tasks import check_tasks
from lmeff.files import read_json, write_json
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Evaluation as EvaluationSection
from lmeff.revisions import list_revisions
from lmeff.revisions.hub import NotDelivered, Unavailable
from lmeff.revisions.remote import RemoteModel, download, find_remote, is_remote

SOURCE = ".model.json"
"""Beside the results of a Hub model: which one it was."""


@dataclass(frozen=True)
class Subject:
    """A model to score and where its results go."""

    model_folder: Path | None
    """None for a model of the Hub, which is fetched when its turn comes."""
    output: Path
    remote: RemoteModel | None = None

    @property
    def name(self) -> str:
        return self.remote.revision if self.remote else self.model_folder.name

    def fetch(self) -> Path:
        """The model's folder. Raises Unavailable for a model of the Hub that cannot be had."""
        return download(self.remote) if self.remote else self.model_folder


def find_subjects(what: str, revisions: Sequence[str] | None, every: bool, output: Path | None) -> list[Subject]:
    """The models of a run folder or of a repository on the Hub in the order of their tokens, or the one of a model folder.

    `revisions` names some of them; without any a run means all of its own, and a repository needs `every`. Raises InputError
    for what holds no model or has no such revision, and RunFailed when the Hub cannot be asked.
    """
    if is_remote(what):
        try:
            found = find_remote(what, list(revisions or ()), every)
        except (Unavailable, NotDelivered) as error:
            raise RunFailed(f"{what}: {error}") from None
        own = [_own_folder(one, output) for one in found]
        return [Subject(None, folder, one) for one, folder in zip(found, own, strict=True)]
    what = Path(what)
    if (what / "config.json").is_file():
        return [Subject(what, output or Path("outputs") / "eval" / what.name)]
    found = {folder.name: folder for folder in list_revisions(what)}
    if not found:
        raise InputError(f"{what}: neither a run with revisions nor a model folder with a config.json")
    unknown = [name for name in revisions or () if name not in found]
    if unknown:
        raise InputError(f"--revisions: {what} has no {unknown[0]!r}; it has {', '.join(found)}")
    names = [name for name in found if revisions is None or name in revisions]
    return [Subject(found[name], (output or what / "results") / name) for name in names]


def _own_folder(model: RemoteModel, output: Path | None) -> Path:
    """Where a Hub model's results go. Raises InputError when those of another repository of that name are there."""
    if output is not None:
        return output / model.folder_name
    folder = Path("outputs") / "eval" / model.folder_name
    if (note := folder / SOURCE).exists() and (other := read_json(note)["repository"]) != model.repository:
        raise InputError(
            f"{folder}: holds results of {other}; give those of {model.repository} another place with --output DIR"
        )
    return folder


def evaluation_of(
    section: EvaluationSection, revision: Path, output: Path, before_batch: Callable[[], None] | None = None
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
        before_batch=before_batch,
    )


def evaluate_together(
    section: EvaluationSection,
    results: Path,
    ranks: tuple[int, int],
    *,
    wait_for_everyone: Callable[[], None],
    before_batch: Callable[[], None],
) -> Callable[[Path], None]:
    """Returns what scores a revision into `results/NAME`, called on every process of a run. `ranks` are this process's rank and
    the number of processes. When `before_batch` raises KeyboardInterrupt, what is missing is left to the next call."""
    rank, world_size = ranks

    def evaluate(revision: Path) -> None:
        evaluation = evaluation_of(section, revision, results / revision.name, before_batch)
        with suppress(KeyboardInterrupt):
            evaluation.score(rank, world_size)
        wait_for_everyone()
        if rank == 0 and evaluation.is_scored(world_size):
            evaluation.finish(world_size)

    return evaluate


def evaluate_folders(
    what: str,
    tasks: Sequence[str] | None,
    revisions: Sequence[str] | None,
    limit: int | None,
    output: Path | None,
    every: bool = False,
) -> list[Subject]:
    """Scores every model and prints a line for each. What a run's recipe says about tasks and data holds unless given here.
    Returns what was scored.

    A model that cannot be scored is named and the others go on; RunFailed is raised at the end.
    """
    subjects = find_subjects(what, revisions, every, output)
    recipe = Path(what) / "recipe.yaml"
    section = read_recipe(recipe).recipe.evaluation if recipe.is_file() else EvaluationSection()
    is_run = (Path(what) / "revisions").is_dir()
    if limit not in (None, section.limit) and is_run and output is None:
        raise InputError(
            "--limit: a part's results would replace the run's full ones; give them a folder with --output DIR"
        )
    section = section.model_copy(update={"tasks": list(tasks or section.tasks), "limit": limit or section.limit})
    if not section.tasks:
        raise InputError("--tasks: which? For example lmeff_blimp; `lmeff tasks --list` names ours")
    check_tasks(section.tasks, section.include_path, section.paths)
    failed = []
    for subject in subjects:
        try:
            model_folder = subject.fetch()
            with suppress(Exception):  # a warning must not keep a model from being scored
                if warning := bos_warning(model_folder):
                    print(f"{subject.name}: {warning}", flush=True)
            if subject.remote:
                about = {name: getattr(subject.remote, name) for name in ("repository", "revision", "commit")}
                write_json(subject.output / SOURCE, {"format": 1, **about})
            results = evaluate_in_process(evaluation_of(section, model_folder, subject.output))
        except Exception as error:  # whatever is wrong with one model, the others go on
            failed.append(subject.name)
            print(f"{subject.name}: cannot be scored: {' '.join(str(error).split())}", flush=True)
            continue
        for task, result in results.items():
            shown = {task: result["results"][task]} if task in result["results"] else result["results"]
            for name, scores in shown.items():
                accuracy = scores.get("acc,none")
                value = f"{accuracy:.4f}" if accuracy is not None else str(scores)
                print(f"{subject.name}  {name}  {value}", flush=True)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(subjects)} models could not be scored: {', '.join(failed)}")
    return subjects


def evaluate_in_process(evaluation: Evaluation) -> dict[str, dict]:
    """Scores a model in this process alone."""
    evaluation.score()
    return evaluation.finish()
