"""Versions of the libraries that results depend on."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import lmeff


def library_versions() -> dict[str, str]:
    """lmeff's version, and those of the libraries that models and scores are computed with, where they are installed."""
    of_models = ("lm_eval", "torch", "transformers", "tokenizers", "accelerate", "numpy")
    names = (*of_models, "evaluate", "scikit-learn", "scipy", "sacrebleu")
    versions = {"lmeff": lmeff.__version__}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
