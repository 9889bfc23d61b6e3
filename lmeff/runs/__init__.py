"""The life of a run: its folder, its state, who works on it, how it is launched and stopped. No torch."""
