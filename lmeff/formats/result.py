"""`results/REVISION/TASK.json`: what was measured of a model, in lm-eval's own result keys, so that one reader reads them all.

Beside lm-eval's keys a result has `format`; `kind`, which says what was measured; and `lmeff`, which says what the numbers
depend on: `weights_sha256`, `data_sha256`, `settings` and more. Files of lm-eval itself and of older versions have no `kind`.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from lmeff.errors import InputError
from lmeff.files import read_json, write_json

Kind = Literal["pairs", "choices", "perplexity", "generation", "weights", "profile", "finetuning"]
"""`pairs`: choices between two sentences; `choices`: any other task of lm-eval."""
SOURCE = ".model.json"
"""Beside results that do not lie in their run: which model it was. Stays on this machine."""
KIND = "kind"
ABOUT = "lmeff"
_METRICS_OF_OLDER: dict[Kind, set[str]] = {
    "generation": {"distinct_1"},
    "finetuning": {"score"},
    "perplexity": {"perplexity", "bits_per_byte"},
}
"""By what a measure was known before results had a kind."""
_LM_EVAL_KEYS = ("results", "configs", "versions", "n-samples", "higher_is_better")


def check_result(content: Any) -> dict[str, Any]:
    """The same content, if it has lm-eval's keys and a kind that is known. Raises ValueError."""
    if not isinstance(content, dict):
        raise ValueError("not an lm-eval result")
    for key in _LM_EVAL_KEYS:
        if not isinstance(content.get(key), dict):
            raise ValueError(f"not an lm-eval result: no {key!r}")
    kind_of(content)
    return content


def read_result(path: Path) -> dict[str, Any]:
    """Raises InputError naming the file when it is missing, damaged or no result."""
    content = read_json(path)
    try:
        return check_result(content)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def find_result(path: Path) -> dict[str, Any]:
    """The content of a result, or of a part of one; empty when it is missing or damaged: then it is computed again."""
    try:
        content = read_json(path)
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file. Raises ValueError for what is no result, and for NaN and infinity."""
    write_json(path, check_result(content))


def kind_of(content: Mapping[str, Any]) -> Kind:
    """What was measured. Raises ValueError for a kind that this version does not have."""
    kind: Kind | None = content.get(KIND)
    if kind is None:
        return _kind_of_older(content)
    if kind not in get_args(Kind):
        raise ValueError(f"not a kind of result: {kind!r}")
    return kind


def kinds_in(folder: Path) -> set[str]:
    """The kinds of all results in a folder and those within it; those that only another version knows are left out."""
    kinds: set[str] = set()
    for path in folder.rglob("[!.]*.json"):
        with suppress(ValueError):
            kinds.add(kind_of(find_result(path)))
    return kinds


def _kind_of_older(content: Mapping[str, Any]) -> Kind:
    """What a file was written for that does not say it: one of an older version, or of lm-eval itself."""
    if content.get("measures") == "weights":
        return "weights"
    about = content.get(ABOUT)
    if isinstance(about, dict) and "num_pairs" in about:
        return "pairs"
    metrics = {key.partition(",")[0] for values in (content.get("results") or {}).values() for key in values}
    for kind, known in _METRICS_OF_OLDER.items():
        if known <= metrics:
            return kind
    return "choices"


def about_of(path: Path) -> dict[str, Any]:
    """What the numbers of a result depend on; empty where there is no result. Read once until the file changes: hundreds of
    models may lie side by side."""
    try:
        stat = path.stat()
    except OSError:
        return {}
    return _read_about(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=10_000)
def _read_about(path: Path, _mtime_ns: int, _size: int) -> dict[str, Any]:
    about = find_result(path).get(ABOUT)
    return about if isinstance(about, dict) else {}


def scoring_of(settings: Mapping[str, Any]) -> str:
    """How texts were scored: `causal`, or `pseudo_log_likelihood (original)`."""
    scoring, variant = settings.get("scoring") or "causal", settings.get("scoring_variant")
    return scoring + (f" ({variant})" if variant else "")


def scoring_words(scoring: str | None) -> str | None:
    """What to know of scores that are not causal, of what `scoring_of` says; None of causal ones."""
    if scoring in (None, "causal"):
        return None
    name, space, variant = scoring.partition(" ")
    if name == "left_to_right_masks":
        return "scored from left to right, with masks that hide later tokens"
    return f"scored by {name.replace('_', '-')}{space}{variant}, not comparable with scores of causal models"


def pairs_path(result: Path) -> Path:
    """The table of the scores of every minimal pair, beside the result over them."""
    return result.parent / "pairs" / f"{result.stem}.parquet"
