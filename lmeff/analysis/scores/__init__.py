"""Scores of any origin, ours or in plain tables: as observations, and as arrays of learning curves."""
