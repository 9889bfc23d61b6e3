"""Scoring a run's revisions from a second process while the run goes on."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.measures.selection import Subject, anchor_of, score_each
from lmeff.revisions import list_revisions

_POLL_SECONDS = 5.0
_SILENT_SECONDS = 3600.0
"""A run writes `state.json` whenever it logs. One that was silent for so long may be gone."""


def follow_run(
    run: Path,
    find: Callable[[], list[Subject]],
    score: Callable[[Subject, Path], None],
    names: Sequence[str] | None = None,
    poll_seconds: float = _POLL_SECONDS,
) -> list[Subject]:
    """Scores every revision, or those of these names, as it appears, until the run is complete or has failed; an interrupted
    one is waited for.

    Args:
        find: finds all revisions that there are.

    Returns what was scored. Raises RunFailed at the end naming the models that could not be scored, or saying that the run's
    process is gone, and InputError for names that no revision has.
    """
    seen: dict[str, Subject] = {}
    failed: list[str] = []
    is_warned = False
    while True:
        states = list(_states(RunFolder(run)))  # before looking: what was saved until then is seen
        found = find() if list_revisions(run) else []
        known = [subject.name for subject in found]
        asked = {anchor_of(RunFolder(run).revision(name)): name for name in (known if names is None else names)}
        wanted = set(asked)
        new = [subject for subject in found if subject.name in wanted and subject.name not in seen]
        for subject in new:
            name = asked[subject.name]
            seen[subject.name] = subject = replace(subject, asked_as=None if name == subject.name else name)
            try:
                score_each([subject], score)
            except RunFailed:
                failed.append(subject.name)
        if not new and states and all(map(has_ended, states)):
            break
        if not new:
            is_warned = is_warned or _warn_of_silence(run, states)
            time.sleep(poll_seconds)
    _complain(run, seen, failed, sorted(wanted.difference(known)), known, [one for one in states if is_gone(one)])
    return list(seen.values())


def _complain(
    run: Path, seen: dict, failed: list[str], unknown: list[str], known: list[str], gone: list[StateDocument]
) -> None:
    """Raises what there is to say at the end."""
    if unknown and not gone:  # else it may have them yet
        raise InputError(f"--revisions: {run} has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    said = [f"{len(failed)} of {len(seen)} models could not be scored: {', '.join(failed)}"] if failed else []
    if gone:
        said.append(
            f"{run}: its process ({gone[0].pid}) is gone, before the run had ended; start the run again, it goes on from its"
            " last checkpoint, and follow it again"
        )
    if said:
        raise RunFailed("; ".join(said))


def has_ended(state: StateDocument | None) -> bool:
    """Whether a run, or a part of one, writes nothing any more unless it is started again."""
    return state is not None and (state.state in ("complete", "failed") or is_gone(state))


def is_gone(state: StateDocument | None) -> bool:
    """Whether a run was killed before it could write that it ended. Known only on the machine that it ran on."""
    if state is None or state.state != "running" or state.host != socket.gethostname():
        return False
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        pass
    return False


def _warn_of_silence(run: Path, states: Sequence[StateDocument | None]) -> bool:
    """Whether a run elsewhere was silent for so long that it was worth a line."""
    for state in states:
        if state is None or state.state != "running" or state.host == socket.gethostname():
            continue
        silent = datetime.now(UTC) - datetime.fromisoformat(state.updated)
        if silent.total_seconds() > _SILENT_SECONDS:
            line = f"{run}: says it runs on {state.host}, but nothing else since {state.updated}; is it still there?"
            print(line, file=sys.stderr, flush=True)
            return True
    return False


def _states(run: RunFolder) -> Iterator[StateDocument | None]:
    """The state of a run, or of every part of one that is trained part by part; None for what has not begun."""
    if (own := _state(run)) is not None:
        yield own
        return
    with suppress(InputError):
        if plan := PlanDocument.read(run):
            for part in plan.parts:
                yield _state(run.part(part.name))


def _state(run: RunFolder) -> StateDocument | None:
    with suppress(InputError):
        return StateDocument.read(run)
    return None
