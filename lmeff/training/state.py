"""For Slurm templates that were copied from an older version, which import this."""

from lmeff.formats.state import StateDocument

read_state = StateDocument.read
