"""Runs and results on disk, read into plain objects, and which of them can be compared."""
