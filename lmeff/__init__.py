"""Pre-train small language models from YAML recipes and measure how they learn."""

__version__ = "0.1.0"
