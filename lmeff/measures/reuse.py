"""When a result that is there is taken again, and when it must not be replaced."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.evaluation.results import copy_result, plain, weights_sha256
from lmeff.formats.result import about_of, find_result, scoring_of

IsWhole = Callable[[Path, dict[str, Any]], bool]
"""Given the folder of a result and the result: whether the files beside it are those that it was written with."""


def read_equal(path: Path, decided_by: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result in `path` if it was computed from the same: weights, data and settings as `decided_by` names them."""
    about = about_of(path)
    same = about and all(about.get(key) == value for key, value in plain(decided_by).items())
    return find_result(path) if same else None


def reuse_equal(
    path: Path,
    decided_by: Mapping[str, Any],
    beside: Sequence[str] = (),
    is_whole: IsWhole = lambda folder, result: True,
    before_copy: Callable[[], None] = lambda: None,
) -> dict[str, Any] | None:
    """`read_equal`, also from the folders of other models next to that of `path`, from where it is copied: the same weights
    may lie there under another name. Not for measures that hold the names of neighbors.

    Args:
        beside: files that belong to the result, relative to its folder; without them it does not count.
        before_copy: called when an equal result lies in another folder, before it is copied.
    """
    for candidate in (path, *sorted(path.parent.parent.glob(f"[!.]*/{path.name}"))):
        folder, result = candidate.parent, read_equal(candidate, decided_by)
        if result and all((folder / name).is_file() for name in beside) and is_whole(folder, result):
            if folder != path.parent:
                before_copy()
                copy_result(path, folder, beside)
            return result
    return None


# ---- a part of the data, or other data, must not replace what is there


def check_name(name: str | None) -> None:
    """Raises InputError for a `--name` that no file should have."""
    if name and not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"--name: {name!r} may have letters, digits, - and _ only")


def refuse_part_of_run(option: str, is_run: bool, output: Path | None) -> None:
    """Raises InputError for a part of the data whose results would stand in a run where those of all of it do."""
    if is_run and output is None:
        raise InputError(
            f"{option}: a part's results would replace the run's full ones; give them a folder with --output DIR"
        )


def refuse_fewer_examples(results: Iterable[Path], limit: int) -> None:
    """Raises InputError where one of these is the result over all examples, or over more of them than `limit` allows."""
    for path in results:
        settings = about_of(path).get("settings")
        if not (isinstance(settings, dict) and "limit" in settings):
            continue
        if (known := settings["limit"]) is None or known > limit:
            over = "all examples" if known is None else f"{known:,} examples of each task"
            raise InputError(
                f"--limit: {path} holds the result of {over}, which that of a part would replace; give this one a folder"
                " with --output DIR"
            )


def refuse_other_scoring(results: Iterable[Path], scoring: str | None) -> None:
    """Raises InputError where one of these is a result that was not scored in this way, as `scoring_of` says it; None: no way
    is known."""
    for path in results:
        settings = about_of(path).get("settings")
        if scoring and isinstance(settings, dict) and (known := scoring_of(settings)) != scoring:
            raise InputError(
                f"--scoring: {path} holds the result of scoring {known}, which that of {scoring} would replace; give this one a"
                " folder with --output DIR"
            )


def refuse_other_data(path: Path, model_folder: Path, data_sha256: Callable[[], str], data: str, way_out: str) -> None:
    """Raises InputError where `path` holds the result of the same model for other data, which would be replaced.

    Args:
        data_sha256: of the data that the new result is of; asked only when there is a result.
        data: what they are, in words.
        way_out: what to do instead.
    """
    is_other = False
    if about := about_of(path):
        with suppress(Exception):  # what is wrong with a model is told when its turn comes
            is_same_model = about["weights_sha256"] == weights_sha256(model_folder)
            is_other = is_same_model and about["data_sha256"] != data_sha256()
    if is_other:
        raise InputError(f"{path}: holds the result of other {data}; {way_out}")
