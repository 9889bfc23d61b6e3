"""Checkpoints: full training state for resuming. One is complete only with its manifest, which is written last."""

import shutil
from collections.abc import Collection
from pathlib import Path

from lmeff.formats.manifest import ManifestDocument, manifest_differences
from lmeff.formats.run_folder import RunFolder


def seal(folder: Path) -> None:
    """Writes the manifest of a checkpoint whose other files are all there."""
    ManifestDocument.of(folder).write(folder)


def _steps(run: RunFolder) -> list[tuple[int, Path]]:
    return [(step, run.checkpoint(step)) for step in run.checkpoint_steps()]


def newest_complete(run: RunFolder) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose files are what its manifest says, and what is wrong with the newer ones."""
    complaints: list[str] = []
    for _, folder in reversed(_steps(run)):
        wrong = manifest_differences(folder)
        if not wrong:
            return folder, complaints
        complaints.append(f"{folder} is damaged and left aside: {wrong[0]}")
    return None, complaints


def rotate(run: RunFolder, keep: int, newest: int, pinned: Collection[int] = ()) -> None:
    """Keeps the `keep` checkpoints up to step `newest`, which was just written, and those of the steps `pinned`. Removes older
    ones, later ones (they were damaged, or the run would have gone on from them) and what an interrupted save left behind.
    Revisions live elsewhere."""
    kept = [folder for step, folder in _steps(run) if step <= newest][-keep:]
    for step, folder in _steps(run):
        if folder not in kept and not (step in pinned and step <= newest):
            shutil.rmtree(folder, ignore_errors=True)  # a branch that is done may be removing it too
    for leftover in run.checkpoints.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def unpin(run: RunFolder, step: int, keep: int) -> None:
    """Removes a checkpoint that was kept for a branch, unless it is among the newest `keep`."""
    checkpoint = run.checkpoint(step)
    if checkpoint not in [folder for _, folder in _steps(run)][-keep:]:
        shutil.rmtree(checkpoint, ignore_errors=True)
