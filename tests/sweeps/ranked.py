"""A sweep that can be ranked, and what its cases come to."""

from sweeps import study

RECIPE = study.RECIPE.replace("[0, 5k, 20k]", "[0, 20k]")
SWEEP = """sweep: study
recipe: base.yaml
seeds: [0, 1, 2]
axes:
  model.hidden_size: [32, 64]
  rate:
    slow: {optimizer.learning_rate: 1e-3}
    fast: {optimizer.learning_rate: 3e-3, schedule.name: linear}
"""
VALUES = {  # bits per byte by case, of three seeds
    "hidden_size-32_slow": [2.00, 2.02, 2.01],
    "hidden_size-32_fast": [1.90, 1.92, 1.92],
    "hidden_size-64_slow": [1.80, 1.81, 1.83],
    "hidden_size-64_fast": [1.50, 1.52, 1.51],
}
