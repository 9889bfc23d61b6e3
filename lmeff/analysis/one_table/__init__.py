"""One table of everything that was measured, whoever measured it, and what it says over seeds."""
