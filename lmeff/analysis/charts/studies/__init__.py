"""Figures of many runs at once: how early scores tell the end, what runs cost, what a setting does."""
