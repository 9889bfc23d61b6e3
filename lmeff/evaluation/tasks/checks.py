"""Whether tasks can be served: they exist, and their data is there. Loads lm-eval for tasks of others only."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.tasks.data import data_name, documents, pair_files, task_name
from lmeff.evaluation.tasks.names import PAIRS, Leaf, meant, own_index, own_task_names, unknown_tasks
from lmeff.evaluation.tasks.sources import DATA_NAMES, SOURCES, Source, data_file, data_folder


def own_leaves(tasks: Iterable[str], paths: Mapping[str, str]) -> list[Leaf]:
    """The tasks with data that the tasks of ours among `tasks` stand for, each once. Other names are passed over.

    Raises InputError for `lmeff_pairs` when its folder, named in `paths`, is not there.
    """
    leaves, groups = own_index()

    def expand(name: str) -> Iterable[Leaf]:
        if name == PAIRS:
            for uid in pair_files(paths):
                yield Leaf(task_name("pairs", uid), "pairs", uid)
        elif name in groups:
            for child in groups[name]:
                yield from expand(child)
        elif name in leaves:
            yield leaves[name]

    return list(dict.fromkeys(leaf for task in tasks for leaf in expand(task)))


def check_tasks(tasks: Sequence[str], include_path: str | None, paths: Mapping[str, str]) -> None:
    """Raises InputError, with a line for each mistake, unless all tasks exist and local data is there and readable.

    Takes less than a second for tasks of ours. Names that are not ours are looked up by lm-eval, which takes seconds.

    Args:
        tasks: names of tasks or groups.
        include_path: folder with the user's own lm-eval task files.
        paths: folders with data by name (`evaluation.paths`).
    """
    check_without_lm_eval(tasks, include_path, paths)
    check_names(tasks, include_path)


def check_without_lm_eval(tasks: Sequence[str], include_path: str | None, paths: Mapping[str, str]) -> None:
    """The part of `check_tasks` that takes less than a second: all but whether lm-eval can read a task file that is there."""
    mistakes = unknown_tasks(tasks, include_path)
    if not include_path:  # a task file of the user may read any name
        unknown = [name for name in paths if name not in DATA_NAMES]
        mistakes += [f"evaluation.paths: no data named {name!r}{meant(name, DATA_NAMES)}" for name in unknown]
    mistakes += _check_data(tasks, paths)
    if mistakes:
        raise InputError(*mistakes)


def fetch_data(tasks: Sequence[str], paths: Mapping[str, str]) -> None:
    """Downloads what our tasks read from the Hub into the cache of `datasets`, so that scoring needs no network."""
    for leaf in own_leaves(tasks, paths):
        name = data_name(leaf.source)
        if name and data_folder(name, paths) is None:
            documents(leaf.source, leaf.uid, paths)


def check_names(tasks: Sequence[str], include_path: str | None) -> None:
    """The other part of `check_tasks`: raises InputError unless lm-eval knows every task that is not ours."""
    own = own_task_names()
    known = set(own)
    if include_path and not known.issuperset(tasks):
        known.update(_lm_eval_names(include_path, defaults=False))
    if any(task not in known and not task.startswith("lmeff") for task in tasks):
        known.update(_lm_eval_names(include_path, defaults=True))
    unknown = [task for task in dict.fromkeys(tasks) if task not in known]
    if unknown:
        raise InputError(*(f"no evaluation task {task!r}{meant(task, own) or meant(task, known)}" for task in unknown))


def _lm_eval_names(include_path: str | None, *, defaults: bool) -> list[str]:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path, include_defaults=defaults).all_tasks


def _check_data(tasks: Sequence[str], paths: Mapping[str, str]) -> list[str]:
    mistakes: list[str] = []
    by_name: dict[str, list[Leaf]] = {}
    for task in tasks:
        try:
            for leaf in own_leaves([task], paths):
                by_name.setdefault(data_name(leaf.source) or "", []).append(leaf)
        except InputError as error:
            mistakes += error.mistakes
    by_name.pop("", None)  # generated
    for name, leaves in by_name.items():
        try:
            folder = data_folder(name, paths)
        except InputError as error:
            mistakes += error.mistakes
        else:
            mistakes += _check_files(name, leaves, folder, paths) if folder else []
    return list(dict.fromkeys(mistakes))


def _check_files(name: str, leaves: Sequence[Leaf], folder: Path, paths: Mapping[str, str]) -> list[str]:
    source = SOURCES[name]
    missing = {leaf.uid: source.files[leaf.uid][0] for leaf in leaves if not data_file(name, leaf.uid, folder)}
    files = list(dict.fromkeys(missing.values()))
    if missing and len(missing) == len({leaf.uid for leaf in leaves}):
        return [f"{folder}: holds no files of {source.title}, such as {files[0]} with {source.keys} ({_from(source)})"]
    if missing:
        return [f"{folder}: lacks {', '.join(files)} of {source.title} ({_from(source)})"]
    mistakes: list[str] = []
    for leaf in leaves:
        try:
            documents(leaf.source, leaf.uid, paths)
        except InputError as error:
            mistakes += error.mistakes
    return mistakes


def _from(source: Source) -> str:
    return f"published: {source.published}"
