"""`lmeff weights`: what a model's weights say by themselves."""
