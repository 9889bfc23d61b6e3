"""Versions of the libraries that results depend on."""

from importlib.metadata import version

import lmeff


def library_versions() -> dict[str, str]:
    """lmeff's version, and those of the libraries that models and scores are computed with."""
    of_models = ("lm_eval", "torch", "transformers", "tokenizers", "accelerate", "numpy")
    names = (*of_models, "evaluate", "scikit-learn", "scipy", "sacrebleu")
    return {"lmeff": lmeff.__version__, **{name: version(name) for name in names}}
