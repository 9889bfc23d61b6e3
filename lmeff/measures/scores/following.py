"""Scoring a run's revisions from a second process while the run goes on."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.formats.anchor import anchor_of
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.logs import note
from lmeff.measures.selection import SelectedModel, select_models
from lmeff.revisions import list_revisions

_POLL_SECONDS = 5.0
_SILENT_SECONDS = 3600.0
"""A run writes `state.json` whenever it logs. One that was silent for so long may be gone."""


def follow_run(
    run: Path,
    names: Sequence[str] | None = None,
    output: Path | None = None,
    poll_seconds: float = _POLL_SECONDS,
) -> Iterator[SelectedModel]:
    """Every revision, or those of these names, as it appears, until the run is complete, has failed, or was killed by a rule of
    its sweep; an interrupted one is waited for.

    Raises RunFailed at the end when the run's process is gone, and InputError for names that no revision has.
    """
    seen: set[str] = set()
    is_warned = False
    while True:
        states = list(_states(RunFolder(run)))  # before looking: what was saved until then is seen
        models = select_models(str(run), None, True, output) if list_revisions(run) else []
        known = [model.name for model in models]
        asked = {anchor_of(RunFolder(run).revision(name)): name for name in (known if names is None else names)}
        new = [model for model in models if model.name in asked and model.name not in seen]
        for model in new:
            seen.add(model.name)
            name = asked[model.name]
            yield replace(model, asked_as=None if name == model.name else name)
        is_killed = _is_killed(RunFolder(run), states)
        if not new and states and (is_killed or all(map(has_ended, states))):
            break
        if not new:
            is_warned = is_warned or _warn_of_silence(run, states)
            time.sleep(poll_seconds)
    gone = [state for state in states if is_gone(state)]
    unknown = sorted(set(asked).difference(known))
    if unknown and not (gone or is_killed):  # else it may have them yet, or would have had them
        raise InputError(f"--revisions: {run} has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    if gone:
        raise RunFailed(
            f"{run}: its process ({gone[0].pid}) is gone, before the run had ended; start the run again, it goes on from its"
            " last checkpoint, and follow it again"
        )


def has_ended(state: StateDocument | None) -> bool:
    """Whether a run, or a part of one, writes nothing any more unless it is started again."""
    return state is not None and (state.state in ("complete", "failed") or is_gone(state))


def _is_killed(run: RunFolder, states: Sequence[StateDocument | None]) -> bool:
    """Whether a rule of its sweep ended a run, which has stopped since."""
    return run.killed_json.is_file() and not any(state is not None and state.state == "running" for state in states)


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
            note(line)
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
