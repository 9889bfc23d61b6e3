"""What a run will end at: one module a way of predicting it."""
