"""Shapes for `model.budget`."""
