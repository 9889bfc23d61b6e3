"""Curricula: which documents are read when (TinyHelen; Yang et al. 2024)."""
