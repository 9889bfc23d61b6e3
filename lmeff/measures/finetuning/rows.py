"""Where the examples of a task are, and their fields as they are read: from JSON lines, or from the Hub."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.tasks.sources import DATA_VARIABLE, data_root
from lmeff.files import parse_json, text_lines
from lmeff.hub.availability import asked_once, first_line, known_away
from lmeff.measures.finetuning.tasks import HUB, HUB_CONFIGS, Task, suites_with
from lmeff.paths import expanded
from lmeff.recipe.input_paths import where_looked

Row = tuple[str, Mapping[str, Any]]
"""Where an example stands, for messages, and its fields."""


def data_folder(task: Task, folder: str | None, paths: Mapping[str, str], groups: Sequence[str] = ()) -> Path | None:
    """The folder with a task's JSON lines; None where they are files of the user's own or on the Hub.

    A task may lie in the folder of any suite that holds it, such as `rte` in that of SuperGLUE: the first is taken that has
    a file of it, and without one the folder of the task's own suite.
    """
    if task.suite == "own":
        return None
    if folder is not None:
        return _existing(folder, "--data")
    folders = {suite: suite_data for suite in suites_with(task, groups) if (suite_data := suite_folder(suite, paths))}
    for suite_data in folders.values():
        if any(
            (suite_data / name).is_file()
            for split in (task.train, *task.validation)
            for name in file_names(task, split)
        ):
            return suite_data
    if task.suite not in HUB and task.suite not in folders:
        raise InputError(
            f"{task.name}: its data are on no Hub; name the folder with {task.file_stem}_train.jsonl: --data DIR,"
            f" evaluation.paths.{task.suite}, or {DATA_VARIABLE} for a folder that holds {task.suite}/"
        )
    return folders.get(task.suite)


def suite_folder(suite: str, paths: Mapping[str, str]) -> Path | None:
    """The folder of a suite's data: the one among `paths`, else in LMEFF_EVAL_DATA; None where there is none. Raises InputError
    for a folder that is not there."""
    if suite in paths:
        return _existing(paths[suite], f"evaluation.paths.{suite}")
    root = data_root()
    return root / suite if root and (root / suite).is_dir() else None


def _existing(folder: str, said_by: str) -> Path:
    folder = expanded(folder)
    if not Path(folder).is_dir():
        raise InputError(f"{said_by}: {folder}: no such folder{where_looked(folder)}")
    return Path(folder)


def file_names(task: Task, split: str) -> list[str]:
    """What the file of a split may be called: TinyHelen's way, then BabyLM's."""
    stem = task.file_stem
    names = [f"{stem}_{split}.jsonl", f"{stem}.{split}.jsonl"]
    short = {"validation": stem, "validation_matched": stem, "validation_mismatched": f"{stem}-mm"}
    return [*names, f"{short[split]}.valid.jsonl"] if split in short else names


def read_rows(task: Task, split: str, folder: Path | None) -> list[Row] | None:
    """The rows of a split; None when the folder has no such file."""
    if task.files:
        path = Path(task.files[split])
        if not path.exists():
            raise InputError(f"{path}: cannot be read (No such file or directory){where_looked(str(path))}")
        return list(_lines(path))
    if folder is None:
        return _from_hub(task, split)
    paths = [folder / name for name in file_names(task, split) if (folder / name).is_file()]
    return list(_lines(paths[0])) if paths else None


def _lines(path: Path) -> Iterable[Row]:
    is_empty = True
    for number, line in text_lines(path):
        row = parse_json(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: must be an object with the fields of an example")
        is_empty = False
        yield f"{path}, line {number}", row
    if is_empty:
        raise InputError(f"{path}: holds no examples")


def _from_hub(task: Task, split: str) -> list[Row]:
    import datasets

    repository, config = HUB[task.suite], HUB_CONFIGS.get(task.name, task.name)
    try:
        with asked_once():
            rows = datasets.load_dataset(repository, config, split=split).to_list()
    except Exception as error:  # each library on the way to the Hub has exceptions of its own
        reason = known_away() or first_line(error)
        raise RunFailed(
            f"{task.name}: cannot be read from the Hub data set {repository} ({reason}); to use local files, name their"
            f" folder with --data DIR (it holds {task.file_stem}_train.jsonl and {task.file_stem}_validation.jsonl)"
        ) from None
    return [(f"{repository}, {config}, {split}, example {index}", row) for index, row in enumerate(rows)]
