"""Sweeps: one recipe with axes, whose cases are recipes. Imports no torch."""

from lmeff.sweeps.cases import Case, Sweep, find_cases, read_sweep

__all__ = ["Case", "Sweep", "find_cases", "read_sweep"]
