"""How early learning curves tell how training ends: agreement, what bounds it, and predictions with honest intervals."""
