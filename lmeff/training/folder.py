"""The folder of a run: who works on it, and whether it holds the run that is asked for. Needs no torch."""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lmeff.errors import InputError
from lmeff.files import usable_folder, write_text
from lmeff.recipe import Resolved
from lmeff.training.state import slurm_job

_FREE_SECTIONS = {"paths", "checkpoints", "evaluation", "publish"}
"""Sections that do not change what is trained."""
_FREE_TRAINING = {"report_to", "run_name", "project", "disable_tqdm", "log_level", "log_level_replica", "logging_steps"}


def run_folder(resolved: Resolved) -> Path:
    """`OUTPUTS/NAME/seed-S`."""
    recipe = resolved.recipe
    return Path(recipe.paths.outputs) / recipe.name / f"seed-{recipe.seed}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _decides(key: str) -> bool:
    section, _, rest = key.partition(".")
    return section not in _FREE_SECTIONS and not (section == "training" and rest in _FREE_TRAINING)


def recipe_changes(folder: Path, resolved: Resolved) -> list[str]:
    """How the run in `folder` was told to train otherwise, one line a setting; empty for the same run and for one that has
    nothing to lose yet."""
    path = folder / "recipe.yaml"
    has_work = any(any((folder / part).glob("*")) for part in ("revisions", "checkpoints"))
    if not path.exists() or not has_work:
        return []
    before, after = _flat(yaml.safe_load(path.read_text(encoding="utf-8"))), _flat(yaml.safe_load(resolved.to_yaml()))
    keys = sorted(key for key in before.keys() | after.keys() if _decides(key) and before.get(key) != after.get(key))
    return [f"{key} was {before.get(key)}, is now {after.get(key)}" for key in keys]


def check_same_recipe(folder: Path, resolved: Resolved) -> None:
    """Raises InputError, a line for each difference, when the folder holds another recipe's run."""
    if changes := recipe_changes(folder, resolved):
        advice = "give this run another name (name=...) or remove the folder"
        raise InputError(*(f"{folder}: {change}; {advice}" for change in changes))


@contextmanager
def claimed(folder: Path, resolved: Resolved) -> Iterator[None]:
    """Holds the run folder for this process, and writes `recipe.yaml`. Raises InputError when another process holds it; the
    kernel frees the claim of a dead one."""
    usable_folder(folder, "paths.outputs")
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(f"{folder}: is being worked on by {file.read().strip() or 'another process'}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}" + (f", job {slurm_job()}" if slurm_job() else ""))
        file.flush()
        write_text(folder / "recipe.yaml", resolved.to_yaml())
        yield


def finished_words(folder: Path, resolved: Resolved, tokens: int) -> str:
    """What there is to say of a complete run: that nothing is to do, and which wanted tasks it was not scored on."""
    words = f"{folder} is complete at {tokens:,} tokens; nothing to do"
    results = folder / "results"
    missing = [task for task in resolved.recipe.evaluation.tasks if not any(results.glob(f"*/{task}.json"))]
    if missing:
        words += f"\nnot scored on {', '.join(missing)}: lmeff eval {folder} --tasks {','.join(missing)}"
    return words
