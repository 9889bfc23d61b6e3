"""One file a section of a recipe: its fields and their own checks. Field docstrings are the documentation users see."""
