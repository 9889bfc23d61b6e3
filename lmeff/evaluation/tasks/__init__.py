"""Tasks as lm-eval takes them: their names, data and documents."""
