"""Which case of a sweep is the best, how certain that is, and the sweep of those that may be."""
