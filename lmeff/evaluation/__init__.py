"""What models can do and what they cost: lm-eval's tasks, fine-tuning, text, weights, speed."""
