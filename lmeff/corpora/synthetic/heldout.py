"""Which word combinations the stories never use, so that the minimal pairs are new to every model.

A combination is two words in one relation, such as the subject `dog` and the verb `sleep`. A hash of its own content
decides, so the answer depends on no seed and on no order of generation. About every sixth combination is held out: each
of its words is frequent in the stories, the two together in that relation never occur.
"""

from functools import cache
from hashlib import sha256

SUBJECT_VERB = "subject-verb"
"""Subject noun (singular) or name, and verb (base form): in every tense and in every kind of clause."""
VERB_OBJECT = "verb-object"
"""Verb (base form) and object noun (singular), for objects that are things."""
DETERMINER_NOUN = "determiner-noun"
"""`this` or `that`, for `these` and `those` too, and noun (singular)."""
ADJECTIVE_NOUN = "adjective-noun"
"""Adjective and noun (singular), whether it stands before the noun or is said of it."""


@cache
def is_held_out(relation: str, first: str, second: str) -> bool:
    """Whether the two words are kept for the minimal pairs."""
    return sha256(f"{relation}:{first}:{second}".encode()).digest()[0] % 6 == 0
