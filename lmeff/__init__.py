"""Pre-train small language models from YAML recipes and measure how they learn."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmeff.interface import compare, curves, make_plan, plot, predict, read_recipe, read_runs

__version__ = "0.1.0"

__all__ = ["compare", "curves", "make_plan", "plot", "predict", "read_recipe", "read_runs"]

# With the package `kernels` installed, transformers would replace parts of models by code that it fetches from the Hub. It
# reads this variable when it is imported.
os.environ["USE_HUB_KERNELS"] = "NO"


def __getattr__(name: str) -> Any:
    # Imported when asked for, since every room imports this module. The one exception to the order of rooms.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("lmeff.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
