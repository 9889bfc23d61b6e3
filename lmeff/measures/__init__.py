"""What can be measured of a model, and on which models: scores, perplexity, generated text, weights, cost, fine-tuning."""
