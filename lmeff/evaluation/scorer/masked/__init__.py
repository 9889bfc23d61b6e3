"""Scores of models that see later tokens: what is to be predicted is hidden from them by a mask."""
