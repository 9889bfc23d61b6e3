"""`lmeff generate`: texts after prompts, and what can be measured on them."""
