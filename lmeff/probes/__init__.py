"""Short looks at a recipe before the run: its learning rate, whether it learns at all, and what fits the device."""
