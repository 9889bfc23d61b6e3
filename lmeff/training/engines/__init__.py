"""What divides a model among processes, and whole states that move between engines."""
