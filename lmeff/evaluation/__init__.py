"""lm-eval: its tasks with our data, the model it sees, and the results it leaves."""
