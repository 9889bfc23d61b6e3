"""What the final models of a sweep cost, measured one after the other on a machine that does nothing else."""

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lmeff.analysis.reading.paths import find_folders
from lmeff.errors import RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.measures.measure import measured_each
from lmeff.measures.profile.measure import Profile, models_to_profile
from lmeff.measures.profile.profile import ProfileSettings
from lmeff.measures.profile.table import BUSY
from lmeff.measures.selection import SelectedModel, Selection
from lmeff.models.device import load_of_others
from lmeff.runs.claim import is_claimed
from lmeff.runs.completed import is_complete
from lmeff.sweeps.cases import Sweep
from lmeff.sweeps.ranking.costs import is_idle

_WATCHED_SECONDS = 0.5
_LOOKS = 10
"""What a case leaves behind, such as a report that is written, is over after a few seconds."""


def profile_finals(
    sweep: Sweep,
    say: Callable[[str], None],
    settings: ProfileSettings | None = None,
    busy: float = BUSY,
    looks: int = _LOOKS,
) -> int:
    """Profiles the final model of every complete case, as `lmeff profile` does, but for those that were profiled on an idle
    machine before; returns how many were.

    Raises RunFailed, which says what is in the way, where a run is trained beside it or other programs take more than the
    share `busy` of the cores at each of so many looks; and at the end where they did so while a model was measured.
    """
    names = models_to_profile(Selection(tuple(str(case.run) for case in sweep.cases if is_complete(case.run))))
    profile = Profile(settings or ProfileSettings(), names.__getitem__, say)
    missing = [model for model in names if not _is_known(profile, model, busy)]
    coming = _while_nothing_else_runs(missing, _outputs(sweep), busy, looks)
    disturbed = [one.model for one in measured_each(profile, coming, say) if not is_idle(one.result, busy)]
    if disturbed:
        said = ", ".join(names[model] for model in disturbed)
        raise RunFailed(f"other programs began while these were profiled, which the same command does again: {said}")
    return len(missing)


def _is_known(profile: Profile, model: SelectedModel, busy: float) -> bool:
    known = profile.known(model, model.fetch())
    return known is not None and is_idle(known, busy)


def _outputs(sweep: Sweep) -> Path:
    """OUTPUTS of a case's folder, `OUTPUTS/SWEEP/CASE/seed-S` or, without axes, `OUTPUTS/SWEEP/seed-S`."""
    return next(folder for folder in sweep.cases[0].run.path.parents if folder.name == sweep.name).parent


def _while_nothing_else_runs(
    models: Sequence[SelectedModel], outputs: Path, busy: float, looks: int
) -> Iterator[SelectedModel]:
    for place, model in enumerate(models):
        if problem := _in_the_way(outputs, busy, looks):
            left = f"{len(models) - place} of {len(models)} models are not profiled: "
            raise RunFailed(f"{left}{problem}; the same command goes on when the machine is idle")
        yield model


def _in_the_way(outputs: Path, busy: float, looks: int) -> str | None:
    """What would make a model look slower than it is."""
    for folder in find_folders([outputs])[0]:
        run = RunFolder(folder)
        state = StateDocument.read(run)
        is_here = state is None or state.host == socket.gethostname()
        if is_here and any(map(is_claimed, (run, *run.parts()))):
            return f"{run} is being trained"
    load = None
    for _ in range(looks):
        if (load := load_of_others(_WATCHED_SECONDS)) is None:
            raise RunFailed(
                "--profile: the kernel does not tell what other programs take; no ranking would take the profiles"
            )
        if load <= busy:
            return None
    return f"other programs take {load:.0%} of the cores"
