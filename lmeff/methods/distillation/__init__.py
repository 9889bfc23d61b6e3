"""Distillation: a student learns from its text and from what teachers say of it."""
