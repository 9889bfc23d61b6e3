"""What a step reads: sequences of the training text, in micro-batches, and a log of them."""
