"""Versions of the libraries that have a part in some number."""

from importlib.metadata import version

import lmeff


def library_versions() -> dict[str, str]:
    """Of what has a part in some number: the models' libraries, then those that scores are computed by."""
    names = ("lm_eval", "torch", "transformers", "tokenizers", "accelerate", "numpy")
    names += ("evaluate", "scikit-learn", "scipy", "sacrebleu")
    return {"lmeff": lmeff.__version__, **{name: version(name) for name in names}}
