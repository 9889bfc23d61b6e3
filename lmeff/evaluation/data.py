"""Reading minimal pairs: BLiMP from a local folder or from the Hub, and those of `lmeff.corpora.synthetic`."""

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.blimp import PARADIGMS

DATA_VARIABLE = "LMEFF_EVAL_DATA"
HUB_BLIMP = "nyu-mll/blimp"
DATA_NAMES = ("blimp", "glue", "superglue", "leaner_glue")
"""What `evaluation.paths` may name."""

Pair = tuple[str, str]
"""The acceptable and the unacceptable sentence."""


def task_name(source: str, uid: str) -> str:
    """The lm-eval task of a paradigm, or the group of a phenomenon, in lower case: `lmeff_blimp_principle_a_case_1`."""
    return f"lmeff_{source}_{uid.lower()}"


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """The pairs of a JSON lines file: `sentence_good` and `sentence_bad`. Raises InputError naming file and line."""
    try:
        stat = path.stat()
        return _read_pairs(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


@lru_cache(maxsize=256)  # a file is read again and again, for every checkpoint of a run
def _read_pairs(path: Path, _mtime_ns: int, _size: int) -> tuple[Pair, ...]:
    with open(path, encoding="utf-8") as lines:
        pairs = tuple(_pair(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip())
    if not pairs:
        raise InputError(f"{path}: holds no pairs")
    return pairs


def _pair(line: str, where: str) -> Pair:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: must be an object with sentence_good and sentence_bad")
    for field in ("sentence_good", "sentence_bad"):
        if not isinstance(record.get(field), str) or not record[field].strip():
            raise InputError(f"{where}: {field} is missing or holds no text")
    return record["sentence_good"], record["sentence_bad"]


def blimp_folder(paths: Mapping[str, str]) -> Path | None:
    """The local folder of BLiMP files, or None for the Hub. Raises InputError for a folder that is not there."""
    if "blimp" in paths:
        folder, named_by = Path(paths["blimp"]), "evaluation.paths.blimp"
    elif os.environ.get(DATA_VARIABLE):
        folder, named_by = Path(os.environ[DATA_VARIABLE]) / "blimp", DATA_VARIABLE
    else:
        return None
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder ({named_by}; it should hold the {len(PARADIGMS)} files of BLiMP)")
    return folder


def load_pairs(source: str, uid: str, paths: Mapping[str, str]) -> tuple[Pair, ...]:
    """The pairs of one paradigm.

    Args:
        source: `blimp` or `synthetic`.
        uid: the paradigm as published, such as `principle_A_c_command`.
        paths: folders by name (`evaluation.paths`); they win over the environment variable LMEFF_EVAL_DATA.
    """
    if source == "synthetic":
        from lmeff.corpora.synthetic import minimal_pairs

        return tuple((pair["sentence_good"], pair["sentence_bad"]) for pair in minimal_pairs(uid))
    folder = blimp_folder(paths)
    return _from_hub(uid) if folder is None else read_pairs(folder / f"{uid}.jsonl")


def _from_hub(uid: str) -> tuple[Pair, ...]:
    import datasets

    try:
        split = datasets.load_dataset(HUB_BLIMP, uid, split="train")
        return tuple(zip(split["sentence_good"][:], split["sentence_bad"][:], strict=True))
    except Exception as error:  # each library on the way to the Hub has exceptions of its own
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise InputError(
            f"BLiMP ({uid}) cannot be read from the Hub dataset {HUB_BLIMP} ({reason}); to use local files, set "
            f"evaluation.paths.blimp to their folder, or {DATA_VARIABLE} to the folder that holds them as blimp/*.jsonl"
        ) from None


class PairDocuments(list):
    """Documents for lm-eval: a list, since reading rows from an Arrow table takes longer than all else lm-eval does."""

    features = dict.fromkeys(("task", "pair", "sentence_good", "sentence_bad"))


def dataset(source: str, uid: str, data_paths: Mapping[str, str] | None = None, **_: object) -> dict[str, list[dict]]:
    """lm-eval's `custom_dataset`: gets the task's `dataset_kwargs` and all metadata, of which `data_paths` is ours."""
    task = task_name(source, uid)
    pairs = load_pairs(source, uid, data_paths or {})
    return {
        "test": PairDocuments(
            {"task": task, "pair": index, "sentence_good": good, "sentence_bad": bad}
            for index, (good, bad) in enumerate(pairs)
        )
    }
