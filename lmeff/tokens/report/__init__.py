"""What tokenizers make of held-out text."""
