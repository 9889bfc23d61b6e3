"""The folder of a run: who works on it, and whether it holds the run that is asked for. Needs no torch."""

import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import yaml

from lmeff.errors import Busy, InputError
from lmeff.files import read_json, usable_folder, write_json
from lmeff.formats.base import FORMAT
from lmeff.formats.plan import PlanDocument, PlanPart
from lmeff.formats.run_folder import RunFolder
from lmeff.quantities import format_bytes
from lmeff.recipe import Resolved
from lmeff.recipe.changes import Change, changes_since
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.fields import OnResume
from lmeff.runs.process import launch_id, launched_rank
from lmeff.runs.state import now, read_state, slurm_job


def _is_its_text(folder: Path, recipe: Recipe) -> bool:
    """Whether text in another place is what the run in `folder` was trained on. Where that cannot be known yet, a run that is
    not complete finds it out when it has its tokens."""
    from lmeff.tokens.of_run import is_same_text

    is_same = is_same_text(recipe, folder)
    return not is_complete(folder) if is_same is None else is_same


def recipe_changes(folder: Path, resolved: Resolved) -> list[Change]:
    """How the run in `folder` was told to train otherwise; empty for the same run and for one that has nothing to lose yet."""
    run = RunFolder(folder)
    if not run.recipe_yaml.exists() or not run.has_work():
        return []
    changes = changes_since(yaml.safe_load(run.recipe_yaml.read_text(encoding="utf-8")), resolved)
    others = [change for change in changes if not change.is_moved_text]
    is_other_corpus = any(change.path[0] == "corpus" for change in others)
    has_moved = len(others) < len(changes)
    return others if has_moved and (is_other_corpus or _is_its_text(folder, resolved.recipe)) else changes


def check_same_recipe(folder: Path, resolved: Resolved, accept: bool) -> list[str]:
    """What has changed since the folder's run began, one line a setting, when that is accepted.

    Raises InputError, a line for each difference, when it is not, or when the run could not go on with it.
    """
    changes = recipe_changes(folder, resolved)
    if not accept and changes:
        advice = "give this run another name (name=...), or go on with --accept-changes"
        raise InputError(*(f"{folder}: {change}; {advice}" for change in changes))
    if fixed := [change for change in changes if change.on_resume is OnResume.FIXED]:
        advice = "a run cannot go on with another one; give this run another name (name=...)"
        raise InputError(*(f"{folder}: {change}; {advice}" for change in fixed))
    return [str(change) for change in changes]


def record_changes(folder: Path, step: int, changes: list[str]) -> list[dict[str, Any]]:
    """Adds what was accepted at `step` to the run's list of accepted changes, and returns all of it, for the provenance."""
    path = RunFolder(folder).accepted_changes_json
    recorded = read_json(path)["changes"] if path.exists() else []
    # A start that was killed before it got further has recorded them already.
    if changes and not (recorded and recorded[-1]["changes"] == changes):
        recorded = [*recorded, {"step": step, "time": now(), "changes": changes}]
        write_json(path, {"format": FORMAT, "changes": recorded})
    return recorded


def is_complete(folder: Path) -> bool:
    """Whether the state of a run, or of a part, says so."""
    state = read_state(folder)
    return state is not None and state.state == "complete"


def is_done(folder: Path, part: PlanPart) -> bool:
    """Whether a part of the run in `folder` was trained to its end. A run without parts says so itself."""
    state = read_state(RunFolder(folder).part(part.name).path) if part.name else None
    return state is not None and state.state == "complete" and state.step >= part.last_step


def check_space(folder: Path, plan: PlanDocument) -> None:
    """Warns before the first step when the disk has less room than the run may need."""
    free = shutil.disk_usage(folder).free
    # Text and tokens are there by now, and counted as what is not free.
    missing = plan.disk_bytes - (plan.data_bytes or 0) - _bytes_of_weights(folder) - free
    if missing > 0:
        print(
            f"{folder}: this run may need {format_bytes(missing)} more than the {format_bytes(free)} that are free there;"
            " lower checkpoints.keep, leave out anchors or make room",
            file=sys.stderr,
        )


def _bytes_of_weights(folder: Path) -> int:
    """Bytes that revisions and checkpoints take already; other processes may be adding and removing some."""
    sizes = {}
    for path in folder.rglob("*.safetensors"):
        with suppress(FileNotFoundError):
            sizes[path.stat().st_ino] = path.stat().st_size
    return sum(sizes.values())


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Holds a folder for this process. Raises Busy when another process holds it; the kernel frees the claim of a dead
    one."""
    usable_folder(folder, "paths.outputs")
    with open(RunFolder(folder).claim_lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.readline().strip() or "another process"
            raise Busy(f"{folder}: is being worked on by {owner}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}" + (f", job {slurm_job()}" if slurm_job() else ""))
        file.write(f"\n{launch_id()}\n")
        file.flush()
        yield


def claimed_by_first(folder: Path) -> AbstractContextManager[None]:
    """`claimed`, on the first process only."""
    return claimed(folder) if launched_rank() == 0 else nullcontext()


def finished_words(folder: Path, resolved: Resolved, tokens: int, undelivered: Sequence[str]) -> str:
    """What there is to say of a complete run: that nothing is to do, which wanted tasks it was not scored on, what is not on
    the Hub, and where its report is."""
    words = f"{folder} is complete at {tokens:,} tokens; nothing to do"
    run, tasks = RunFolder.of(resolved.recipe), resolved.recipe.evaluation.tasks
    missing = [task for task in tasks if not any(run.results.glob(f"[!.]*/{task}.json"))]
    if missing:
        words += f"\nnot scored on {', '.join(missing)}: lmeff eval {run} --tasks {','.join(missing)}"
    if undelivered:
        words += f"\nnot on the Hub yet, {', '.join(undelivered)}: lmeff publish {run}"
    return words + f"\nreport: {run.report_html}"
