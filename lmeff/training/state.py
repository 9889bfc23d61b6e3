"""The name by which Slurm templates that were copied from an older version import this."""

from lmeff.runs.state import read_state

__all__ = ["read_state"]
