"""Sweeps: one recipe with axes, whose cases are recipes. Imports no torch, and `reading` nothing of what cases need."""
