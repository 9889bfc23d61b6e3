"""`lmeff profile`: what a model costs."""
