"""`lmeff perplexity`: loss, perplexity and bits per byte of held-out text."""
