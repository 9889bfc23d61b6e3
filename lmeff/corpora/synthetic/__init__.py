"""The corpus `synthetic`: short English stories from a small grammar, and minimal pairs that test what they teach.

The stories are about people, animals and things; their grammar has number agreement across other nouns, reflexives,
irregular nouns and verbs, determiners, negative polarity, gaps and questions. Which words the stories never combine is
decided by a hash of the words alone (`heldout`), and every minimal pair is built on such a combination: no model has
seen it, whatever the seed and the number of stories. The pairs have BLiMP's format, so what scores BLiMP scores them.

Within a paradigm each form is wrong as often as it is right, and the words of a pair are the same or as many, so
neither frequency nor length decides. One thing cannot be balanced in that way: a negation that licenses `ever` is never
wrong. `npi_licensor` therefore sets it against words that are more frequent and words that are less frequent.
"""

from collections.abc import Iterator
from random import Random

from lmeff.corpora.synthetic.clauses import Speaker
from lmeff.corpora.synthetic.pairs import PARADIGMS, Paradigm, minimal_pairs
from lmeff.corpora.synthetic.stories import tell

__all__ = [
    "GENERATOR_VERSION",
    "PARADIGMS",
    "Paradigm",
    "generate_dev_documents",
    "generate_documents",
    "minimal_pairs",
]

GENERATOR_VERSION = 1
"""Rises whenever a seed gives other stories or the pairs change."""


def generate_documents(num_documents: int, seed: int = 0) -> Iterator[str]:
    """Training stories. Each depends on the seed and its own index only, on every platform."""
    return _generate("train", num_documents, seed)


def generate_dev_documents(num_documents: int, seed: int = 0) -> Iterator[str]:
    """Held-out stories of the same kind, from another stream of random numbers."""
    return _generate("dev", num_documents, seed)


def _generate(stream: str, num_documents: int, seed: int) -> Iterator[str]:
    for index in range(num_documents):
        random = Random(f"{stream}/{seed}/{index}").random
        yield tell(Speaker(random, past=random() < 0.4))
