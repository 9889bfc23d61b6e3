"""The name by which Slurm templates that were copied from an older version import this."""

from lmeff.runs.folder import run_folder

__all__ = ["run_folder"]
