"""For Slurm templates that were copied from an older version, which import this."""

from lmeff.runs.command_line import read_arguments

__all__ = ["read_arguments"]
