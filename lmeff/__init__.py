"""Pre-train small language models from YAML recipes and measure how they learn."""

import os

__version__ = "0.1.0"

# With the package `kernels` installed, transformers would replace parts of models by code that it fetches from the Hub. It
# reads this variable when it is imported.
os.environ["USE_HUB_KERNELS"] = "NO"
