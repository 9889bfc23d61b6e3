"""The tokenizer: trained, applied fast, and written for every transformers from 4.46 on."""
