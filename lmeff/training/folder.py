"""For Slurm templates that were copied from an older version, which import this."""

from pathlib import Path

from lmeff.formats.run_folder import RunFolder
from lmeff.recipe import Resolved


def run_folder(resolved: Resolved) -> Path:
    """`OUTPUTS/NAME/seed-S`."""
    return RunFolder.of(resolved.recipe).path
