"""`lmeff eval`: lm-eval's tasks on one model after another."""
