"""Scoring models on minimal pairs with lm-eval."""
