"""Text sources, held-out text, and the generated default corpus."""

from lmeff.corpora.catalogue import named_corpora
from lmeff.corpora.prepare import TextCorpus, prepare_text

__all__ = ["TextCorpus", "named_corpora", "prepare_text"]
