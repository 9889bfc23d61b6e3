"""What a step reads: batches, their order, held-out text."""
