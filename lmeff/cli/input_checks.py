"""What a command can be told to be wrong before anything heavy is imported: models, runs and files that are not there, tasks
that do not exist. What is right is found again by whoever uses it; looking takes less than a second."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.errors import InputError, RunFailed
from lmeff.formats.run_folder import RunFolder, suggest_run
from lmeff.logs import note
from lmeff.models.families import check_family
from lmeff.plan import make_plan
from lmeff.recipe import Resolved, read_recipe
from lmeff.recipe.machine import check_machine, may_see_gpu
from lmeff.recipe.sections.corpus import Corpus
from lmeff.runs.completed import is_complete

if TYPE_CHECKING:
    from lmeff.measures.selection import Selection


def check_models(selection: "Selection") -> None:
    """Raises InputError for what is neither here nor looks like a model of the Hub, and for a revision that is not there."""
    from lmeff.hub.remote import is_remote

    for what in selection.whats:
        if not is_remote(what):
            from lmeff.measures.selection import select_models

            select_models(what, selection.revisions, selection.every, selection.output)


def missing_revision(selection: "Selection") -> list[str]:
    """A line for each repository of the Hub of which nobody said which revision."""
    from lmeff.hub.remote import is_remote

    if selection.revisions or selection.every:
        return []
    names = [what for what in selection.whats if is_remote(what) and "@" not in what]
    return [f"{what}: which revision? {what}@REVISION or --revisions all" for what in names]


def check_eval_tasks(what: str, tasks: Sequence[str] | None, include_path: str | None, paths: dict[str, str]) -> None:
    """Raises InputError for tasks that do not exist and for data that is not there: those of the command line, else of the
    run's recipe."""
    from lmeff.evaluation.tasks.checks import check_without_lm_eval

    recipe = RunFolder(Path(what)).recipe_yaml
    section = read_recipe(recipe).recipe.evaluation if recipe.is_file() else None
    if section is not None:
        paths = {**section.paths, **paths}
        tasks, include_path = tasks or section.tasks, include_path or section.include_path
    if not tasks:
        raise InputError("--tasks: which? For example lmeff_blimp; `lmeff tasks --list` names ours")
    check_without_lm_eval(tasks, include_path, paths)


def check_publishable(what: str, limit: int | None, output: Path | None) -> None:
    """Raises InputError for results that could not be published or should not be."""
    from lmeff.hub.account import token
    from lmeff.hub.outbox import Outbox
    from lmeff.hub.remote import is_remote

    if limit is not None:
        raise InputError("--publish: the scores of a part of the examples, with --limit, are not for others")
    if is_remote(what):
        if token() is None:
            raise InputError("--publish: needs a token; set HF_TOKEN, or run `hf auth login`")
    elif output:
        raise InputError("--publish: takes the results in the run's folder; leave --output out")
    elif not any(entry.commit for entry in Outbox(Path(what)).entries()):
        raise InputError(f"--publish: {what} is not on the Hub; lmeff publish {what}")


def check_recipe_tasks(resolved: Resolved) -> None:
    """Raises InputError, with file and line, for tasks of a recipe that do not exist; their data may be on another machine."""
    from lmeff.evaluation.tasks.names import unknown_tasks

    wanted = resolved.recipe.evaluation
    if wanted.tasks and (mistakes := unknown_tasks(wanted.tasks, wanted.include_path)):
        key = "evaluation.include_path" if "(evaluation.include_path)" in mistakes[0] else "evaluation.tasks"
        raise InputError(*(f"{resolved.provenance[key]}: {mistake}" for mistake in mistakes))


def check_text_of(resolved: Resolved) -> None:
    """Raises InputError, with file and line, for a recipe that does not say where its text is, or names no track that there is;
    text that it names may be on another machine."""
    from lmeff.corpora.catalogue import check_place

    try:
        check_place(resolved.recipe.corpus)
    except InputError as error:
        said = [resolved.provenance.get(key, "default") for key in ("corpus.track", "corpus.name")]
        where = next(one for one in said if one != "default")
        raise InputError(*(f"{where}: {mistake}" for mistake in error.mistakes)) from None


def check_run_of(resolved: Resolved) -> None:
    """Raises InputError for what a run of the recipe could not do on this machine: packages and hardware that are not here,
    tasks that do not exist, text and evaluation data that are not there, a name on the Hub that nobody has said."""
    check_machine(resolved)
    check_family(resolved)
    check_text_of(resolved)
    check_recipe_tasks(resolved)
    for check in _CHECKS_OF_PLACE:
        check(resolved)


def note_missing(cases: Sequence[Resolved]) -> None:
    """Says what would stop a run of the recipes on this machine and may be otherwise on another one, each once, and of some
    cases of a sweep which: text, evaluation data and teachers that are not here, a Hub that cannot be asked, and a name on it
    that only the environment says. Complete runs need none of it."""
    from lmeff.sweeps.cases import said_of

    found: dict[tuple[str, str], Sequence[str]] = {}
    names_by_line: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if is_complete(RunFolder.of(case.recipe)):
            continue
        for check, section in _CHECKS_OF_PLACE.items():
            decides = getattr(case.recipe, section) if section else case.recipe
            key = (check.__name__, decides.model_dump_json(exclude={"seed"}))
            if key not in found:
                found[key] = _mistakes_by(check, case)
            for line in found[key]:
                names_by_line[line].append(case.recipe.name)
    missing = [said_of(line, names, len(cases)) for line, names in names_by_line.items()]
    for line in missing[:_MOST_NOTED]:
        note(f"lmeff train would stop here: {line}")
    if len(missing) > _MOST_NOTED:
        note(f"and {len(missing) - _MOST_NOTED} more like these")


def _mistakes_by(check: Callable[[Resolved], None], resolved: Resolved) -> Sequence[str]:
    try:
        check(resolved)
    except InputError as error:
        return error.mistakes
    except RunFailed as error:  # the Hub cannot be asked for a teacher
        return [str(error)]
    return ()


def _check_evaluation_data(resolved: Resolved) -> None:
    from lmeff.evaluation.tasks.checks import check_without_lm_eval

    wanted = resolved.recipe.evaluation
    check_without_lm_eval(wanted.tasks, wanted.include_path, wanted.paths)


def _check_methods(resolved: Resolved) -> None:
    from lmeff.methods import check_methods

    check_methods(resolved.recipe, resolved)


def _check_hub_names(resolved: Resolved) -> None:
    if resolved.recipe.publish.to == "hub":
        from lmeff.hub.account import namespace
        from lmeff.hub.names import hub_names

        hub_names(resolved.recipe, make_plan(resolved.recipe), namespace())


def _check_corpus(resolved: Resolved) -> None:
    check_corpus(resolved.recipe.corpus)


_CHECKS_OF_PLACE: dict[Callable[[Resolved], None], str | None] = {
    _check_evaluation_data: "evaluation",
    _check_methods: None,
    _check_hub_names: None,
    _check_corpus: "corpus",
}
"""Each with the section that alone decides what it finds; None where more of the recipe does."""
_MOST_NOTED = 5


def check_corpus(corpus: Corpus) -> None:
    """Raises InputError for files of a corpus that are not there; what is downloaded is not looked for."""
    from lmeff.corpora.catalogue import complete, describe, has_place, nowhere, sources_of
    from lmeff.corpora.reading.sources import find_files

    corpus = complete(corpus)
    if corpus.name != "synthetic" and not has_place(corpus) and not describe(corpus).get("download"):
        raise nowhere(corpus)
    named = {
        f"corpus.sources.{name}.paths" if name else "corpus.paths": source.paths
        for name, source in sources_of(corpus).items()
    }
    named |= {"corpus.dev_paths": corpus.dev_paths, "corpus.decontaminate": corpus.decontaminate}
    for key, paths in named.items():
        find_files(paths or [], key)


def check_device(device: str | None) -> None:
    """Raises InputError for a GPU that cannot be there."""
    if device == "cuda" and not may_see_gpu():
        raise InputError("--device cuda: torch sees no GPU here; `lmeff doctor` says more")


def check_text(paths: Sequence[str]) -> None:
    """Raises InputError for `--text` that is not there."""
    if paths:
        from lmeff.corpora.reading.sources import find_files

        find_files(paths, "--text")


def check_run_folders(paths: Sequence[str]) -> None:
    """Raises InputError, a line for each, for folders that are not there or hold no run and no results."""
    check_folders(paths)
    from lmeff.analysis.reading.paths import find_folders

    find_folders(paths)


def check_folders(paths: Sequence[str]) -> None:
    """Raises InputError, a line for each, for folders that are not there."""
    mistakes = [
        f"{path}: {'not a folder' if path.exists() else 'no such folder'}"
        for path in map(Path, paths)
        if not path.is_dir()
    ]
    if mistakes:
        raise InputError(*mistakes)


def check_run(run: str) -> None:
    """Raises InputError for a folder that is no run."""
    check_folders([run])
    if not RunFolder(Path(run)).recipe_yaml.is_file():
        raise InputError(f"{run}: not a run (no recipe.yaml){suggest_run(Path(run))}")
