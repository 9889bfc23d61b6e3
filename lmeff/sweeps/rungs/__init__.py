"""Rungs: anchors at which the cases of a sweep are compared, and some of them end early. Imports no torch."""
