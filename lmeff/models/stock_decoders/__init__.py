"""Decoders of which stock transformers alone knows what they are: their configurations, and what a model of one consists of."""
