"""What keeps a result of some text or prompts from replacing that of others, and the names that tell them apart."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.results import weights_sha256
from lmeff.formats.result import about_of


def check_name(name: str | None) -> None:
    """Raises InputError for a `--name` that no file should have."""
    if name and not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"--name: {name!r} may have letters, digits, - and _ only")


def keep_other(path: Path, model_folder: Path, data_sha256: Callable[[], str], data: str, way_out: str) -> None:
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
