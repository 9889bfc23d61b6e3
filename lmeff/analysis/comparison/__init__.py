"""Two models, or two groups of seeds, side by side: how far they are apart, and which question each interval answers."""
