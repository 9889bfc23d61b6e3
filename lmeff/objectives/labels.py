"""Labels of positions, as transformers has them."""

IGNORED = -100
"""The label of a position without a loss."""
