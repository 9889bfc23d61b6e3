"""Scoring a run's revisions from a second process while the run goes on."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.subjects import Subject, score_each
from lmeff.files import read_json
from lmeff.recipe.documents import StateDocument

_POLL_SECONDS = 5.0


def follow_run(
    run: Path,
    find: Callable[[], list[Subject]],
    score: Callable[[Subject, Path], None],
    poll_seconds: float = _POLL_SECONDS,
) -> list[Subject]:
    """Scores every revision as it appears, until the run is complete or has failed; an interrupted one is waited for.

    Returns what was scored. Raises RunFailed at the end naming the models that could not be scored.
    """
    seen: dict[str, Subject] = {}
    failed: list[str] = []
    while True:
        ended = has_ended(run)  # before looking: what was saved until then is seen
        new = []
        with suppress(InputError):  # nothing saved yet
            new = [subject for subject in find() if subject.name not in seen]
        for subject in new:
            seen[subject.name] = subject
            try:
                score_each([subject], score)
            except RunFailed:
                failed.append(subject.name)
        if ended and not new:
            break
        if not new:
            time.sleep(poll_seconds)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(seen)} models could not be scored: {', '.join(failed)}")
    return list(seen.values())


def has_ended(run: Path) -> bool:
    """Whether a run, or every part of one that is trained part by part, is complete or has failed."""
    own = _state(run)
    if own is not None:
        return own in ("complete", "failed")
    with suppress(InputError, KeyError):
        parts = [part["name"] for part in read_json(run / "plan.json")["parts"]]
        return bool(parts) and all(_state(run / "parts" / part) in ("complete", "failed") for part in parts)
    return False


def _state(folder: Path) -> str | None:
    with suppress(InputError, ValueError):
        return StateDocument.model_validate(read_json(folder / "state.json")).state
    return None
