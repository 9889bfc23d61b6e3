"""Texts scored as trees of prefixes."""
