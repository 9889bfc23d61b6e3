"""The model that lm-eval sees, and how it computes the log-probabilities of many texts."""
