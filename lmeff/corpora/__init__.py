"""Text sources, held-out text, and the generated default corpus."""

from typing import Any

from lmeff.corpora.catalogue import named_corpora

__all__ = ["TextCorpus", "named_corpora", "prepare_text"]


def __getattr__(name: str) -> Any:
    """What prepares text brings numpy, which a look at a recipe does not need."""
    if name in ("TextCorpus", "prepare_text"):
        from lmeff.corpora import prepare

        return getattr(prepare, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
